package keyed

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Open implements source.Source. The reader is one statement whose rows are taken
// from the connection as they are read; it holds one row and a quarter of a
// megabyte. The rows come in the order of the key, or as the server finds them.
// Opening a chunk twice gives the same rows when none of them changed meanwhile:
// the server keeps no version of a table that could be asked for.
func (s *Source) Open(ctx context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	p, err := s.parse(input)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	rows, err := s.read(ctx, p, columns)
	if err != nil {
		stop()
		return nil, err
	}
	return &source.Input{
		Reader: rows, Format: "TSV", Compression: "none",
		Structure: columns, Settings: source.RowSettings(), Bytes: p.Bytes, Unordered: true,
		Check: func() error {
			switch err := rows.Err(); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			}
			return job.Retryf("%s: the chunk was not read to its end", s.cfg.Name())
		},
		Close: func() error {
			stop()
			return rows.Close()
		},
	}, nil
}

// read begins to read a chunk.
func (s *Source) read(ctx context.Context, p Range, columns []job.Column) (rows Rows, err error) {
	c, err := s.server.Connect(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	r, err := s.planned(c, p.Shape, columns)
	if err != nil {
		return nil, err
	}
	all := Selection{Blocks: p.Blocks, Columns: columns, From: r.Of().SQL, Where: "TRUE", Place: p.place(s.cfg.Name())}
	if len(p.Key) > 0 {
		k, err := s.walked(r, p)
		if err != nil {
			return nil, err
		}
		// Where many rows share the first column of the key, some servers would
		// otherwise read and sort the whole table for each chunk.
		all.From, all.Where, all.Order = k.From, k.within(p.From, p.To), " ORDER BY "+k.Order("")
		if p.Null {
			all.Where = "(" + k.null() + ")"
		}
	}
	if s.cfg.Where != "" {
		all.Where += " AND (" + s.cfg.Where + "\n)"
	}
	spanned, err := s.spanned(r)
	if err != nil {
		return nil, err
	}
	if spanned != "" {
		all.Where += " AND (" + spanned + ")"
	}
	return r.Read(all)
}
