package mysql

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// piece is what a chunk says about its input.
type piece struct {
	Shape string `json:"f"`
	// The keys after From, up to and including To, or those of which a part is
	// NULL. Without a Key the chunk is everything.
	Key        []string `json:"k,omitempty"`
	Collations []string `json:"c,omitempty"`
	From       bound    `json:"a,omitempty"`
	To         bound    `json:"z,omitempty"`
	Null       bool     `json:"n,omitempty"`

	Bytes int64 `json:"s,omitempty"` // estimated
}

// cursor is where planning goes on. What is settled when it begins stays.
type cursor struct {
	Shape      string   `json:"f"`
	Key        []string `json:"k,omitempty"`
	Collations []string `json:"c,omitempty"`
	Last       bound    `json:"a,omitempty"` // planned up to here
	Max        bound    `json:"z,omitempty"` // the largest key; nil: the end is open
	Per        int64    `json:"p,omitempty"` // rows of a chunk
	Mean       int64    `json:"s,omitempty"` // bytes of a row, estimated
	Ranges     bool     `json:"r,omitempty"` // all ranges are planned
	Done       bool     `json:"d,omitempty"`
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
		Name: s.name(),
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
			return p, false, s.changed()
		}
		at.Shape = shape
		if err := c.settle(at, r); err != nil || at.Done {
			return p, false, err
		}
	}
	p = piece{Shape: at.Shape, Key: at.Key, Collations: at.Collations}
	if len(at.Key) > 0 {
		return c.nextRange(at, r, p)
	}
	at.Done = true
	p.Bytes = r.bytes
	return p, true, nil
}

// planned returns the relation, when it still has the shape that was planned.
func (c *session) planned(shape string, columns []job.Column) (*relation, error) {
	r, found, err := c.describe()
	switch {
	case number(err) == errNoSuchTable:
		return nil, c.s.gone()
	case number(err) == errBadField, number(err) == errViewInvalid:
		return nil, c.s.changed()
	case err != nil:
		return nil, err
	case !found:
		return nil, c.s.gone()
	}
	if now, ok := r.shape(columns); !ok || now != shape {
		return nil, c.s.changed()
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
	at.Per = int64(min(c.s.cfg.Rows, 1<<40)) //nolint:gosec // bounded
	if at.Per == 0 {
		at.Per = min(max(c.s.cfg.ChunkBytes/at.Mean, 1), DefaultRows)
	}
	for i, col := range k.columns {
		at.Key = append(at.Key, col.name)
		at.Collations = append(at.Collations, k.collations[i])
	}
	if strings.Join(at.Collations, "") == "" {
		at.Collations = nil
	}
	if c.spans(k) {
		if c.s.span.From != nil {
			at.Last = bound{*c.s.span.From}
		}
		at.Max = bound{*c.s.span.To}
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

// nextRange plans the next range of the key.
func (c *session) nextRange(at *cursor, r *relation, p piece) (piece, bool, error) {
	k, err := c.plannedKey(r, at.Key, at.Collations, at.Last, at.Max)
	if err != nil {
		return p, false, err
	}
	if !at.Ranges {
		p.From, p.Bytes = at.Last, at.Per*at.Mean
		if p.To, err = c.step(k, at.Last, at.Max, at.Per); err != nil {
			return p, false, err
		}
		if p.To == nil {
			p.To, at.Ranges = at.Max, true
			left, err := c.count(k, p.From, p.To, at.Per)
			if err != nil {
				return p, false, err
			}
			p.Bytes = left * at.Mean
		}
		at.Last = p.To
		at.Ranges = at.Ranges || slices.Equal(p.To, at.Max)
		at.Done = at.Ranges && (k.null() == "" || c.spans(k))
		return p, true, nil
	}
	at.Done = true
	if k.null() == "" {
		return p, false, nil
	}
	some, err := c.rows("looking for rows without a key", fmt.Sprintf("SELECT 1 FROM %s WHERE %s LIMIT 1", k.from(), k.null()))
	if err != nil || len(some) == 0 {
		return p, false, err
	}
	p.Null = true
	return p, true, nil
}
