package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// manner is how a relation is cut.
type manner string

const (
	byKey    manner = "k"
	byBlocks manner = "b"
	asWhole  manner = "w"
)

// piece is what a chunk says about its input.
type piece struct {
	Shape  string `json:"f"`
	Manner manner `json:"m"`
	// Of byKey: the columns, and the keys after From, up to and including To;
	// or those of which a part is NULL.
	Key  []string `json:"k,omitempty"`
	From bound    `json:"a,omitempty"`
	To   bound    `json:"z,omitempty"`
	Null bool     `json:"n,omitempty"`
	// Of byBlocks: the blocks [Begin, End) of File.
	Begin int64  `json:"b,omitempty"`
	End   int64  `json:"e,omitempty"`
	File  string `json:"i,omitempty"`

	Bytes int64 `json:"s,omitempty"` // estimated
}

// cursor is where planning goes on. What is settled when it begins stays.
type cursor struct {
	Shape  string   `json:"f"`
	Manner manner   `json:"m"`
	Key    []string `json:"k,omitempty"`
	Last   bound    `json:"a,omitempty"` // planned up to here
	Max    bound    `json:"z,omitempty"` // the largest key; nil: the end is open
	Next   int64    `json:"b,omitempty"` // block
	Blocks int64    `json:"e,omitempty"`
	File   string   `json:"i,omitempty"`
	Per    int64    `json:"p,omitempty"` // rows or blocks of a chunk
	Mean   int64    `json:"s,omitempty"` // bytes of a row or block, estimated
	Ranges bool     `json:"r,omitempty"` // all ranges are planned
	Done   bool     `json:"d,omitempty"`
}

const (
	// sampled is how many rows are looked at for their size where the server
	// has no statistics.
	sampled = 1000
	// rowHeader is what a row takes beside its values, in bytes.
	rowHeader = 28
)

// Plan implements source.Source: ranges in the order of the key, and last the
// rows whose key is NULL; or ranges of blocks. It connects for each chunk and
// holds no connection while the chunk is looked at.
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
	p = piece{Shape: at.Shape, Manner: at.Manner, Key: at.Key}
	switch at.Manner {
	case byKey:
		return c.nextRange(at, r, p)
	case byBlocks:
		if at.Next >= at.Blocks {
			at.Done = true
			return p, false, nil
		}
		p.Begin, p.End, p.File = at.Next, min(at.Next+at.Per, at.Blocks), at.File
		p.Bytes = (p.End - p.Begin) * at.Mean
		at.Next = p.End
		at.Done = at.Next >= at.Blocks
		return p, true, nil
	}
	at.Done = true
	p.Bytes = r.bytes
	return p, true, nil
}

// planned returns the relation, when it still has the shape that was planned.
func (c *session) planned(shape string, columns []job.Column) (*relation, error) {
	r, found, err := c.describe()
	switch {
	case state(err) == undefinedTable:
		return nil, c.s.gone()
	case state(err) == undefinedColumn:
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
	if c.s.span != nil {
		if c.s.span.To == nil {
			at.Done = true
			return nil
		}
		k, err = c.findSpan(r)
	}
	if err == nil && k == nil {
		k, err = c.find(r)
	}
	if err != nil {
		return err
	}
	if k == nil && !r.heap {
		at.Manner = asWhole
		return nil
	}
	mean, err := c.mean(r)
	if err != nil {
		return err
	}
	rows := int64(min(c.s.cfg.Rows, 1<<40)) //nolint:gosec // bounded
	if rows == 0 {
		rows = min(max(c.s.cfg.ChunkBytes/mean, 1), DefaultRows)
	}
	if k == nil {
		at.Manner, at.Blocks, at.File = byBlocks, r.blocks, r.file
		at.Mean = max(r.bytes/max(r.blocks, 1), 1)
		at.Per = max(rows*mean/at.Mean, 1)
		return nil
	}
	at.Manner, at.Per, at.Mean = byKey, rows, mean
	for _, col := range k.columns {
		at.Key = append(at.Key, col.name)
	}
	if c.spans(k) {
		if c.s.span.From != nil {
			at.Last = bound{*c.s.span.From}
		}
		at.Max = bound{*c.s.span.To}
		return nil
	}
	if err := c.byIndex(k); err != nil {
		return err
	}
	var found bool
	at.Max, found, err = c.last(k)
	at.Ranges = !found
	return err
}

// mean estimates the bytes of a row, at least 1.
func (c *session) mean(r *relation) (int64, error) {
	if r.rows >= 1 && r.bytes > 0 {
		return max(int64(float64(r.bytes)/r.rows), 1), nil
	}
	sum := strconv.Itoa(rowHeader)
	for _, col := range r.columns {
		// As stored: it does not fetch what is stored beside the row.
		sum += fmt.Sprintf(" + coalesce(pg_column_size(%s), 0)", identifier(col.name))
	}
	got, err := c.one("estimating the size of a row", fmt.Sprintf("SELECT coalesce(avg(_s), 0)::int8 FROM (SELECT %s AS _s FROM %s LIMIT %d) AS _m", sum, r.sql, sampled))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(got.text(0), 10, 64)
	return max(n, 1), err
}

// nextRange plans the next range of the key.
func (c *session) nextRange(at *cursor, r *relation, p piece) (piece, bool, error) {
	k, err := c.keyOf(r, at.Key)
	if err != nil {
		return p, false, err
	}
	if err := c.byIndex(k); err != nil {
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
		at.Ranges = at.Ranges || same(p.To, at.Max)
		at.Done = at.Ranges && (k.null() == "" || c.spans(k))
		return p, true, nil
	}
	at.Done = true
	if k.null() == "" {
		return p, false, nil
	}
	some, err := c.one("looking for rows without a key", fmt.Sprintf("SELECT EXISTS (SELECT FROM %s WHERE %s)", r.sql, k.null()))
	if err != nil || !some.is(0) {
		return p, false, err
	}
	p.Null = true
	return p, true, nil
}

// keyOf returns the key of the named columns.
func (c *session) keyOf(r *relation, names []string) (*key, error) {
	k := &key{rel: r, indexed: r.oid != ""}
	for _, name := range names {
		col := r.column(name)
		if col == nil {
			return nil, c.s.changed()
		}
		k.columns = append(k.columns, col)
	}
	if len(k.columns) == 0 {
		return nil, permanent("%s: a cursor or chunk names no key", c.s.name())
	}
	return k, nil
}

func same(a, b bound) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
