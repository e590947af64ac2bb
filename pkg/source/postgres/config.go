package postgres

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drayage/pkg/allow"
	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Config is the block source.postgres of a pipeline.
type Config struct {
	// URL is postgres://user:password@host:port/database?sslmode=…; what it
	// leaves out is taken from PGPASSWORD, .pgpass and the like.
	URL string
	// Table is a table, view or materialized view, as in SQL: schema.table, and
	// in double quotes what has capital letters. Exactly one of Table and Query
	// is set.
	Table string
	// Query is a SELECT.
	Query string
	// Key are the columns to cut by; empty: the primary key of Table.
	Key []string
	// Where is a predicate in SQL that the rows must meet; empty: all.
	Where string

	Columns    []job.Column // those to read, and their types; empty: all, typed as package postgres maps them
	ChunkBytes int64        // about how large a chunk is; 128 MiB by default
	Rows       uint64       // rows of a chunk; 0: by ChunkBytes, at most DefaultRows
	Seats      source.Seats // for the connections; nil: unbounded
	Allow      *allow.Rules // what may be reached; nil: everything

	Watermark job.Watermark   // for Source.Bounds
	Bounds    json.RawMessage // what Source.Bounds returned; nil: everything
}

const (
	// DefaultRows bounds the rows of a chunk when Config.Rows names none.
	DefaultRows = 1_000_000
	// maxKey bounds the columns of a key.
	maxKey = 8
	// maxTable bounds the name of a table in a pipeline: two identifiers, quoted.
	maxTable = 300

	defaultChunkBytes = 128 << 20
)

// Validate reports every mistake that can be seen without a server, as
// source.FieldErrors, or nil. It never repeats the URL.
func (c Config) Validate() error {
	var all source.FieldErrors
	bad := func(field, hint, problem string, args ...any) {
		all = append(all, &source.FieldError{Field: field, Problem: fmt.Sprintf(problem, args...), Hint: hint})
	}
	const urlHint = "write postgres://user:${env:PASSWORD}@host:5432/database; in a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25"
	switch {
	case c.URL == "":
		bad("url", urlHint, "is missing")
	case !strings.HasPrefix(c.URL, "postgres://") && !strings.HasPrefix(c.URL, "postgresql://"):
		bad("url", urlHint, "does not begin with postgres://")
	default:
		if _, err := c.server(); errors.As(err, new(*job.RefusedError)) {
			bad("url", "", "%v", err)
		} else if err != nil {
			// The error may hold the password.
			bad("url", urlHint, "is not an address of PostgreSQL, or names a file that can not be read")
		}
	}
	switch {
	case c.Table == "" && c.Query == "":
		bad("table", "name a table, or write query: SELECT …", "is missing")
	case c.Table != "" && c.Query != "":
		bad("query", "leave out one of them", "can not stand beside table")
	case len(c.Table) > maxTable:
		bad("table", "write schema.table", "has more than %d letters", maxTable)
	}
	for _, text := range []struct{ field, value string }{
		{"table", c.Table}, {"query", c.Query}, {"where", c.Where}, {"key", strings.Join(c.Key, "")},
	} {
		if strings.ContainsRune(text.value, 0) {
			bad(text.field, "", "has a zero byte, which no text of PostgreSQL has")
		}
	}
	if len(c.Key) > maxKey {
		bad("key", "the first of them are enough", "has %d columns; %d are possible", len(c.Key), maxKey)
	}
	for i, k := range c.Key {
		switch {
		case k == "":
			bad("key", "name a column", "has an empty name")
		case slices.Contains(c.Key[:i], k):
			bad("key", "name it once", "%q is there twice", k)
		}
	}
	if c.ChunkBytes < 0 {
		bad("chunk", "128MiB is the default", "is negative")
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
