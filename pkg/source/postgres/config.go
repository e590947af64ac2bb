package postgres

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"drayage/pkg/allow"
	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
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
	Rows       uint64       // rows of a chunk; 0: by ChunkBytes, at most keyed.MaxRows
	Seats      source.Seats // for the connections; nil: unbounded
	Allow      *allow.Rules // what may be reached; nil: everything

	Watermark job.Watermark   // for Source.Bounds
	Bounds    json.RawMessage // what Source.Bounds returned; nil: everything
}

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
	keyed.Config{Table: c.Table, Query: c.Query, Key: c.Key, ChunkBytes: c.ChunkBytes}.Check(bad, "write schema.table", source.SameName)
	for _, text := range []struct{ field, value string }{
		{"table", c.Table}, {"query", c.Query}, {"where", c.Where}, {"key", strings.Join(c.Key, "")},
	} {
		if strings.ContainsRune(text.value, 0) {
			bad(text.field, "", "has a zero byte, which no text of PostgreSQL has")
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
