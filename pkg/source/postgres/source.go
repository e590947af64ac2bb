package postgres

import (
	"context"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
)

// Source is the source of a table or query. It holds no connection between
// calls, and may be used by several goroutines.
//
// Each chunk is read in a transaction of its own, so the job sees no single
// moment of a table that changes meanwhile. Cut by a key, every row whose key
// stays is read once; a row that is inserted while the job runs is read where its
// key is at most the largest that there was at first and its range was not read
// yet. Cut by blocks, a row that an UPDATE moves may be read twice or not at all.
type Source struct {
	cfg   keyed.Config
	query string // without what ends it
	span  *source.Span
}

var (
	_ source.Source   = (*Source)(nil)
	_ source.Splitter = (*Source)(nil)
	_ source.Locator  = (*Source)(nil)
)

// New returns the source that cfg describes. It asks nobody; a cfg that does not
// validate is a source.FieldErrors, marked job.Permanent.
func New(cfg Config) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	if cfg.ChunkBytes == 0 {
		cfg.ChunkBytes = keyed.ChunkBytes
	}
	span, err := source.ParseSpan(cfg.Bounds)
	if err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	return &Source{cfg: keyed.Config(cfg), query: strings.TrimRight(cfg.Query, "; \t\r\n"), span: span}, nil
}

// Columns implements source.Source. The table must exist; it may be empty. The
// declared columns must be among its own. A key that it does not have, and a
// where that the server does not understand, are errors here.
func (s *Source) Columns(ctx context.Context, _ source.Engine) ([]job.Column, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer c.close()
	r, err := c.existing()
	if err != nil {
		return nil, err
	}
	if err := c.check(r); err != nil {
		return nil, err
	}
	var has []string
	var all []job.Column
	for _, col := range r.columns {
		has = append(has, col.name)
		all = append(all, job.Column{Name: col.name, Type: col.clickhouse()})
	}
	return s.cfg.Chosen(all, has, source.SameName)
}

// check finds mistakes in key and where before anything runs.
func (c *session) check(r *relation) error {
	if _, err := c.find(r); err != nil {
		return err
	}
	if c.s.cfg.Where == "" {
		return nil
	}
	_, err := c.rows("checking where", "SELECT FROM "+r.sql+" WHERE ("+c.s.cfg.Where+"\n) LIMIT 0")
	return err
}

// existing is describe for what is not planned yet.
func (c *session) existing() (*relation, error) {
	r, found, err := c.describe()
	if err == nil && !found {
		err = job.Permanentf("%s: there is no such table in the database, or on the search path of the user: write schema.table, with capital letters in double quotes", c.s.cfg.Name())
	}
	return r, err
}

// Size implements source.Source: the bytes of a table as stored, without its
// indexes; 0 of anything else.
func (s *Source) Size(ctx context.Context) int64 {
	if s.cfg.Table == "" {
		return 0
	}
	c, err := s.connect(ctx)
	if err != nil {
		return 0
	}
	defer c.close()
	r := &relation{}
	if found, err := c.table(r); err != nil || !found {
		return 0
	}
	return r.bytes
}
