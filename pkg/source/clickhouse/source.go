// Package clickhouse is the source of a table, or of the result of a query, of
// another ClickHouse. A table is cut by its primary key at places that its own
// sparse index names, so that to plan reads no data.
package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"drayage/pkg/allow"
	ch "drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Config is the block source.clickhouse of a pipeline. Exactly one of Table and
// Query is set.
type Config struct {
	URL      string // http://user:password@host:8123/database, or https
	User     string // empty: that of URL
	Password string
	CAFile   string // PEM certificates to trust in place of the system's
	Table    string // table or database.table
	Query    string // a SELECT; one chunk
	Where    string // a condition on the rows of Table

	Columns []job.Column // what the columns of those names are converted to; none: all as they are
	// A chunk has about ChunkRows rows of a table or, where that is 0, about
	// ChunkBytes bytes, uncompressed.
	ChunkBytes int64
	ChunkRows  uint64
	Seats      source.Seats
	Allow      *allow.Rules // what may be reached; nil: everything

	Watermark job.Watermark   // for Bounds
	Bounds    json.RawMessage // what Bounds returned; nil: everything
}

// Source implements source.Source. A table can not be frozen: rows that are
// inserted, changed or deleted while the job runs are seen by some chunks and
// not by others.
type Source struct {
	cfg  Config
	span *source.Span // nil: everything
}

var (
	_ source.Source  = (*Source)(nil)
	_ source.Locator = (*Source)(nil)
)

// New returns the source that cfg describes. It connects to nobody. A mistake is
// of type source.FieldErrors.
func New(cfg Config) (*Source, error) {
	var wrong source.FieldErrors
	bad := wrong.Bad
	if err := cfg.server().Validate(); err != nil {
		bad("url", "write url: http://host:8123/database", "%v", err)
	}
	switch {
	case cfg.Table == "" && cfg.Query == "":
		bad("table", "write table: database.table, or query: SELECT …", "neither a table nor a query is named")
	case cfg.Table != "" && cfg.Query != "":
		bad("query", "leave one of the two", "there is a table too")
	case cfg.Where != "" && cfg.Table == "":
		bad("where", "write the condition into the query", "it is for a table")
	}
	if cfg.Table != "" {
		if _, err := ch.ParseTable(cfg.Table, ""); err != nil {
			bad("table", "", "%v", err)
		}
	}
	if len(wrong) > 0 {
		return nil, job.WithClass(wrong, job.Permanent)
	}
	span, err := source.ParseSpan(cfg.Bounds)
	if err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	return &Source{cfg: cfg, span: span}, nil
}

// server is the configuration of the connection.
func (c Config) server() ch.Config {
	cfg := ch.Config{URL: c.URL, User: c.User, Password: c.Password, CAFile: c.CAFile}
	if c.Allow != nil {
		cfg.Dialer = c.Allow.Dialer
	}
	return cfg
}

// connect takes a seat and connects. The function gives back both.
func (s *Source) connect(ctx context.Context) (context.Context, *ch.Client, func(), error) {
	held, release, err := s.cfg.Seats.Take(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if s.cfg.CAFile != "" {
		if _, err := s.cfg.Allow.Path(s.cfg.CAFile); err != nil {
			release()
			return nil, nil, nil, err
		}
	}
	client, err := ch.Open(held, s.cfg.server())
	if err != nil {
		release()
		return nil, nil, nil, fmt.Errorf("connecting to the ClickHouse of the source: %w", err)
	}
	return held, client, func() {
		_ = client.Close()
		release()
	}, nil
}

// rows runs a query and decodes its rows into out, a pointer to a slice.
func rows[T any](ctx context.Context, client *ch.Client, query string) ([]T, error) {
	var text strings.Builder
	if err := client.Query(ctx, query, "JSONEachRow", &text); err != nil {
		return nil, err
	}
	var out []T
	for dec := json.NewDecoder(strings.NewReader(text.String())); ; {
		var row T
		if err := dec.Decode(&row); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading the answer of ClickHouse: %w", err)
		}
		out = append(out, row)
	}
}

// relation is what the chunks are parts of.
func (s *Source) relation(client *ch.Client) (string, error) {
	if s.cfg.Query != "" {
		return "(" + strings.TrimRight(s.cfg.Query, "; \n\t") + "\n)", nil
	}
	t, err := ch.ParseTable(s.cfg.Table, client.Database())
	return t.SQL(), err
}

// Columns implements source.Source.
func (s *Source) Columns(ctx context.Context, _ source.Engine) ([]job.Column, error) {
	ctx, client, end, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	rel, err := s.relation(client)
	if err != nil {
		return nil, err
	}
	found, err := rows[job.Column](ctx, client, "DESCRIBE TABLE "+rel+" SETTINGS describe_compact_output = 1")
	if err != nil {
		return nil, fmt.Errorf("asking for the columns of %s: %w", s.name(), err)
	}
	if len(s.cfg.Columns) == 0 {
		return found, nil
	}
	has := make([]string, len(found))
	for i, c := range found {
		has[i] = c.Name
	}
	return s.cfg.Columns, source.CheckDeclared(s.name(), s.cfg.Columns, has, source.SameName)
}

func (s *Source) name() string {
	if s.cfg.Query != "" {
		return "the query"
	}
	return s.cfg.Table
}

// Open implements source.Source: the rows of a chunk, as Native. They come over
// one connection.
func (s *Source) Open(ctx context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	p, err := parse(input)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	ctx, client, end, err := s.connect(ctx)
	if err != nil {
		stop()
		return nil, err
	}
	rel, err := s.relation(client)
	if err != nil {
		stop()
		end()
		return nil, err
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := client.Query(ctx, s.sql(p, rel, columns), "Native", w)
		if err != nil {
			err = fmt.Errorf("reading %s: %w", s.name(), err)
		}
		_ = w.CloseWithError(err) // it never fails
	}()
	return &source.Input{
		Reader: r, Format: "Native", Structure: columns, Bytes: p.Bytes, Unordered: true,
		Close: func() error {
			stop()
			_ = r.Close() // it never fails
			<-done
			end()
			return nil
		},
	}, nil
}

// sql is the SELECT of a part.
func (s *Source) sql(p part, rel string, columns []job.Column) string {
	exprs := make([]string, len(columns))
	for i, c := range columns {
		if exprs[i] = identifier(c.Name); len(s.cfg.Columns) > 0 {
			exprs[i] = fmt.Sprintf("accurateCast(%s, %s) AS %s", exprs[i], literal(c.Type), exprs[i])
		}
	}
	conditions := append(p.conditions(), s.filters()...)
	if len(conditions) == 0 {
		conditions = []string{"1"}
	}
	// The subquery keeps a converted column out of the conditions.
	return fmt.Sprintf("SELECT %s FROM (SELECT * FROM %s WHERE %s)", strings.Join(exprs, ", "), rel, strings.Join(conditions, " AND "))
}

// Locate implements source.Locator.
func (s *Source) Locate(input json.RawMessage) (source.Location, error) {
	p, err := parse(input)
	at := source.Location{Name: s.name(), Offset: -1}
	if c := p.conditions(); len(c) > 0 {
		at.Name += " where " + strings.Join(c, " and ")
	}
	return at, err
}

// Size implements source.Source: the uncompressed bytes of a table.
func (s *Source) Size(ctx context.Context) int64 {
	if s.cfg.Query != "" {
		return 0
	}
	ctx, client, end, err := s.connect(ctx)
	if err != nil {
		return 0
	}
	defer end()
	size, err := s.measure(ctx, client)
	if err != nil {
		return 0
	}
	return int64(size.Bytes) //nolint:gosec // below 2^63
}

func identifier(name string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
}

func literal(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// Records says that a chunk has no text of its own, but only rows.
func (s *Source) Records(context.Context, json.RawMessage, []job.Column) (*source.Input, error) {
	return nil, job.WithClass(source.ErrNoRecords, job.Permanent)
}
