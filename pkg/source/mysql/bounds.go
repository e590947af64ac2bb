package mysql

import (
	"context"
	"encoding/json"
	"fmt"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
)

var _ source.Incremental = (*Source)(nil)

// Bounds implements source.Incremental, by Config.Watermark. A row that is
// committed later with a value that is at most the largest one of now is left
// out for ever, unless the look-back reaches it: a transaction that writes NOW()
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
	k, err := c.watermark(r)
	if err != nil {
		return nil, nil, err
	}
	largest, found, err := c.last(k, s.cfg.Where)
	var latest *string
	switch {
	case err != nil:
		return nil, nil, err
	case found && largest == nil:
		return nil, nil, job.Permanentf("%s: the largest %s is too long for a watermark: more than %d bytes", s.cfg.Name(), s.cfg.Watermark.Column, maxBound)
	case found:
		latest = &largest[0]
	}
	return source.After(state, latest, func(value string) (*string, error) { return c.back(k, value) })
}

// watermark is the column of the watermark, as a key of its own.
func (c *session) watermark(r *relation) (*key, error) {
	name := c.s.cfg.Watermark.Column
	col := r.column(name)
	switch {
	case col == nil:
		return nil, job.Permanentf("%s: it has no column %q, which incremental.column names", c.s.cfg.Name(), name)
	case col.typ.manner() == unfit, r.query && col.typ.text():
		// How the texts of a query are compared is known of its rows alone.
		return nil, job.Permanentf("%s: a column of the type %s can not be a watermark, as %q is; a number or a time can", c.s.cfg.Name(), col.typ.name, name)
	}
	return c.keyOf(r, []string{name})
}

// back takes the look-back off a value; nil: there is no value as small.
func (c *session) back(k *key, value string) (*string, error) {
	l := c.s.cfg.Watermark.Lookback
	if l.N == 0 {
		return &value, nil
	}
	col := k.columns[0]
	var e string
	switch t := col.typ; {
	case !k.valid(keyed.Bound{value}):
		return nil, c.astray(k)
	case l.Unit != "" && t.name == "date":
		e = fmt.Sprintf("CAST(CAST('%s' AS DATETIME) - INTERVAL %d %s AS DATE)", value, l.N, l.Unit)
	case l.Unit != "" && t.is("datetime", "timestamp"):
		e = fmt.Sprintf("CAST('%s' AS DATETIME(6)) - INTERVAL %d %s", value, l.N, l.Unit)
	case l.Unit == "" && t.is("float", "double"):
		e = fmt.Sprintf("%s - %de0", value, l.N)
	case l.Unit == "" && (t.integer() || t.is("decimal", "bit")):
		// Below zero there is no unsigned number: it would be an error.
		e = fmt.Sprintf("CAST(%s AS DECIMAL(65, %d)) - %d", value, t.decimals(), l.N)
	case l.Unit != "":
		return nil, job.Permanentf("%s: incremental.lookback %d %s can not be taken off a %s, as %s is: write a number", c.s.cfg.Name(), l.N, l.Unit, t.name, col.name)
	default:
		return nil, job.Permanentf("%s: incremental.lookback %d can not be taken off a %s, as %s is: write a time, such as 1 hour", c.s.cfg.Name(), l.N, t.name, col.name)
	}
	got, err := c.one("looking back from "+value, "SELECT "+e)
	if err != nil || got[0] == nil { // before the first day that there is
		return nil, err
	}
	text := got.text(0)
	return &text, nil
}

// spanned is the predicate of the rows within the bounds of the job; "" for all.
func (c *session) spanned(r *relation) (string, error) {
	span := c.s.span
	if span == nil {
		return "", nil
	}
	k, err := c.watermark(r)
	if err != nil {
		return "", err
	}
	for _, text := range []*string{span.From, span.To} {
		if text != nil && !k.valid(keyed.Bound{*text}) {
			return "", c.astray(k)
		}
	}
	return span.Where(identifier(k.columns[0].name), func(text string) string { return k.at(0, text) }), nil
}

func (c *session) astray(k *key) error {
	return job.Permanentf("%s: the state of the watermark is no value of %s, which is a %s now: dray watermarks forget lets the next job read everything",
		c.s.cfg.Name(), k.columns[0].name, k.columns[0].typ.name)
}

// findSpan is the column of the watermark as the key to cut by, nil where no
// index leads there or another key is named.
func (c *session) findSpan(r *relation) (*key, error) {
	k, err := c.watermark(r)
	if err != nil || len(c.s.cfg.Key) > 0 || k.index == "" {
		return nil, err
	}
	return k, nil
}

// spans reports whether the bounds of the job are bounds of the key.
func (c *session) spans(k *key) bool {
	return c.s.span != nil && len(k.columns) == 1 && k.columns[0] == k.rel.column(c.s.cfg.Watermark.Column)
}
