package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
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
	keyed.Range        // with a Key only byKey
	Manner      manner `json:"m"`
	// Of byBlocks: the blocks [Begin, End) of File.
	Begin int64  `json:"b,omitempty"`
	End   int64  `json:"e,omitempty"`
	File  string `json:"i,omitempty"`
}

// cursor is where planning goes on. Of byBlocks, Per and Mean are of blocks.
type cursor struct {
	keyed.Cursor
	Manner manner `json:"m"`
	Block  int64  `json:"b,omitempty"` // the next
	Blocks int64  `json:"e,omitempty"`
	File   string `json:"i,omitempty"`
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
	p = piece{Range: keyed.Range{Shape: at.Shape}, Manner: at.Manner}
	switch at.Manner {
	case byKey:
		k, err := c.walked(r, at.Key)
		if err != nil {
			return p, false, err
		}
		p.Range, found, err = at.Next(walk{c, k}, k.null() != "" && !c.spans(k))
		return p, found, err
	case byBlocks:
		if at.Block >= at.Blocks {
			at.Done = true
			return p, false, nil
		}
		p.Begin, p.End, p.File = at.Block, min(at.Block+at.Per, at.Blocks), at.File
		p.Bytes = (p.End - p.Begin) * at.Mean
		at.Block = p.End
		at.Done = at.Block >= at.Blocks
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
		return nil, c.s.cfg.Gone()
	case state(err) == undefinedColumn:
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
	rows := keyed.Per(c.s.cfg.Rows, c.s.cfg.ChunkBytes, mean)
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
			at.Last = keyed.Bound{*c.s.span.From}
		}
		at.Max = keyed.Bound{*c.s.span.To}
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

// walked returns the key of the named columns, which the server reads by its index.
func (c *session) walked(r *relation, names []string) (*key, error) {
	k, err := c.keyOf(r, names)
	if err == nil {
		err = c.byIndex(k)
	}
	return k, err
}

// keyOf returns the key of the named columns.
func (c *session) keyOf(r *relation, names []string) (*key, error) {
	k := &key{rel: r, indexed: r.oid != ""}
	for _, name := range names {
		col := r.column(name)
		if col == nil {
			return nil, c.s.cfg.Changed()
		}
		k.columns = append(k.columns, col)
	}
	if len(k.columns) == 0 {
		return nil, job.Permanentf("%s: a cursor or chunk names no key", c.s.cfg.Name())
	}
	return k, nil
}
