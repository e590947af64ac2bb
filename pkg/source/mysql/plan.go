package mysql

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
)

// piece is what a chunk says about its input.
type piece struct {
	keyed.Range          // without a Key the chunk is everything
	Collations  []string `json:"c,omitempty"` // of the columns of Key
}

// cursor is where planning goes on.
type cursor struct {
	keyed.Cursor
	Collations []string `json:"c,omitempty"`
}

const (
	// sampled is how many rows are looked at for their size.
	sampled = 1000
	// trusted is from how many rows on the server's own statistics are used.
	trusted = 100_000
	// rowHeader is about what a row takes beside its values, in bytes.
	rowHeader = 8
)

// Plan implements source.Source: ranges in the order of the key, and last the
// rows whose key is NULL; or everything in one chunk where there is no key. It
// connects for each chunk and holds no connection while the chunk is looked at.
func (s *Source) Plan(ctx context.Context, from json.RawMessage, columns []job.Column) iter.Seq2[source.Planned, error] {
	return source.Steps[cursor]{
		Name: s.cfg.Name(),
		Done: func(at *cursor) bool { return at.Done },
		Next: func(ctx context.Context, at *cursor, begun bool) (any, int64, bool, error) {
			p, found, err := s.next(ctx, at, begun, columns)
			return p, p.Bytes, found, err
		},
	}.Plan(ctx, from)
}

// next plans the next chunk, and moves at after it.
func (s *Source) next(ctx context.Context, at *cursor, begun bool, columns []job.Column) (p piece, found bool, err error) {
	c, err := s.connect(ctx)
	if err != nil {
		return p, false, err
	}
	defer c.close()
	var r *relation
	if begun {
		if r, err = c.planned(at.Shape, columns); err != nil {
			return p, false, err
		}
	} else {
		if r, err = c.existing(); err != nil {
			return p, false, err
		}
		shape, ok := r.shape(columns)
		if !ok {
			return p, false, s.cfg.Changed()
		}
		at.Shape = shape
		if err := c.settle(at, r); err != nil || at.Done {
			return p, false, err
		}
	}
	p.Collations = at.Collations
	if len(at.Key) == 0 {
		at.Done = true
		p.Range = keyed.Range{Shape: at.Shape, Bytes: r.bytes}
		return p, true, nil
	}
	k, err := c.plannedKey(r, at.Key, at.Collations, at.Last, at.Max)
	if err != nil {
		return p, false, err
	}
	p.Range, found, err = at.Next(walk{c, k}, k.null() != "" && !c.spans(k))
	return p, found, err
}

// planned returns the relation, when it still has the shape that was planned.
func (c *session) planned(shape string, columns []job.Column) (*relation, error) {
	r, found, err := c.describe()
	switch {
	case number(err) == errNoSuchTable:
		return nil, c.s.cfg.Gone()
	case number(err) == errBadField, number(err) == errViewInvalid:
		return nil, c.s.cfg.Changed()
	case err != nil:
		return nil, err
	case !found:
		return nil, c.s.cfg.Gone()
	}
	if now, ok := r.shape(columns); !ok || now != shape {
		return nil, c.s.cfg.Changed()
	}
	return r, nil
}

// settle decides how r is cut.
func (c *session) settle(at *cursor, r *relation) error {
	var k *key
	var err error
	if span := c.s.span; span != nil {
		if span.To == nil {
			at.Done = true
			return nil
		}
		k, err = c.findSpan(r)
	}
	if err == nil && k == nil {
		k, err = c.find(r)
	}
	if err != nil || k == nil {
		return err
	}
	if err := c.collate(k); err != nil {
		return err
	}
	if at.Mean, err = c.mean(k); err != nil {
		return err
	}
	at.Per = keyed.Per(c.s.cfg.Rows, c.s.cfg.ChunkBytes, at.Mean)
	for i, col := range k.columns {
		at.Key = append(at.Key, col.name)
		at.Collations = append(at.Collations, k.collations[i])
	}
	if strings.Join(at.Collations, "") == "" {
		at.Collations = nil
	}
	if c.spans(k) {
		if c.s.span.From != nil {
			at.Last = keyed.Bound{*c.s.span.From}
		}
		at.Max = keyed.Bound{*c.s.span.To}
		return nil
	}
	var found bool
	at.Max, found, err = c.last(k, "")
	at.Ranges = !found
	return err
}

// mean estimates the bytes of a row, at least 1: of a large table by the
// server's statistics, else by the first rows.
func (c *session) mean(k *key) (int64, error) {
	if r := k.rel; r.rows >= trusted && r.mean > 0 {
		return r.mean, nil
	}
	sum, order := strconv.Itoa(rowHeader), ""
	for _, col := range k.rel.columns {
		sum += fmt.Sprintf(" + COALESCE(OCTET_LENGTH(%s), 0)", identifier(col.name))
	}
	if k.index != "" {
		order = " ORDER BY " + k.order("")
	}
	got, err := c.one("estimating the size of a row", fmt.Sprintf("SELECT CAST(COALESCE(AVG(_s), 0) AS UNSIGNED) FROM (SELECT %s AS _s FROM %s%s LIMIT %d) AS _m",
		sum, k.from(), order, sampled))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(got.text(0), 10, 64)
	return max(n, 1), err
}
