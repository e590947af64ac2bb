package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

var _ source.Incremental = (*Source)(nil)

// Bounds implements source.Incremental, by Config.Watermark. A row that is
// committed later with a value that is at most the largest one of now is left
// out for ever, unless the look-back reaches it: a transaction that writes now()
// and takes its time is such.
func (s *Source) Bounds(ctx context.Context, state json.RawMessage) (bounds, next json.RawMessage, err error) {
	c, err := s.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer c.close()
	r, err := c.existing()
	if err != nil {
		return nil, nil, err
	}
	col, err := c.watermark(r)
	if err != nil {
		return nil, nil, err
	}
	where := "true"
	if s.cfg.Where != "" {
		where = "(" + s.cfg.Where + "\n)"
	}
	got, err := c.one("looking for the largest "+col.name, fmt.Sprintf("SELECT max(%s.%s)::text FROM %s WHERE %s", r.ref, identifier(col.name), r.sql, where))
	if err != nil {
		return nil, nil, err
	}
	var latest *string
	if got[0] != nil {
		text := got.text(0)
		latest = &text
	}
	bounds, next, err = source.After(state, latest, func(value string) (*string, error) {
		l := s.cfg.Watermark.Lookback
		if l.N == 0 {
			return &value, nil
		}
		by := fmt.Sprint(l.N)
		if l.Unit != "" {
			by = fmt.Sprintf("interval '%d %s'", l.N, l.Unit)
		}
		got, err := c.one("looking back from "+value, fmt.Sprintf("SELECT (%s::%s - %s)::%[2]s::text", literal(value), col.sqlType, by))
		if err != nil {
			return nil, err
		}
		text := got.text(0)
		return &text, nil
	})
	return bounds, next, err
}

// watermark is the column of the watermark.
func (c *session) watermark(r *relation) (*column, error) {
	name := c.s.cfg.Watermark.Column
	col := r.column(name)
	if col == nil {
		return nil, job.Permanentf("%s: it has no column %q, which incremental.column names", c.s.cfg.Name(), name)
	}
	return col, nil
}

// spanned is the predicate of the rows within the bounds of the job; "" for all.
func (c *session) spanned(r *relation) (string, error) {
	if c.s.span == nil {
		return "", nil
	}
	col, err := c.watermark(r)
	if err != nil {
		return "", err
	}
	return c.s.span.Where(r.ref+"."+identifier(col.name), func(text string) string { return literal(text) + "::" + col.sqlType }), nil
}

// findSpan is the column of the watermark as the key to cut by, nil where no
// index leads there or another key is named.
func (c *session) findSpan(r *relation) (*key, error) {
	if len(c.s.cfg.Key) > 0 || r.oid == "" {
		return nil, nil //nolint:nilnil // no key is no error
	}
	if _, err := c.watermark(r); err != nil {
		return nil, err
	}
	k, err := c.findKey(r, []string{c.s.cfg.Watermark.Column})
	if err != nil || k == nil || !k.indexed {
		return nil, err
	}
	return k, nil
}

// spans reports whether the bounds of the job are bounds of the key.
func (c *session) spans(k *key) bool {
	return c.s.span != nil && len(k.columns) == 1 && k.columns[0].name == c.s.cfg.Watermark.Column
}
