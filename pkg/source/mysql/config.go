package mysql

import (
	"encoding/json"
	"fmt"
	"strings"

	"drayage/pkg/allow"
	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
)

// Config is the block source.mysql of a pipeline.
type Config struct {
	// URL is mysql://user:password@host:3306/database, with ?tls=true,
	// skip-verify, preferred (the default) or false, ?ca=/path of the certificates
	// that are trusted, for tls=true, in place of the system's, and ?socket=/path
	// for a socket in place of host and port.
	URL string
	// Table is a table or view, as in SQL: table or database.table, and in
	// backquotes what is no plain name. Exactly one of Table and Query is set.
	Table string
	// Query is a SELECT.
	Query string
	// Key are the columns to cut by, of a table the first ones of an index;
	// empty: the primary key of Table, or else a unique index without NULLs.
	Key []string
	// Where is a predicate in SQL that the rows must meet; empty: all.
	Where string

	Columns    []job.Column // those to read, and their types; empty: all, typed as package mysql maps them
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
	if c.URL == "" {
		bad("url", urlHint, "is missing")
	} else if _, err := parseURL(c.URL, c.Allow); err != nil {
		bad("url", urlHint, "%s", err)
	}
	keyed.Config{Table: c.Table, Query: c.Query, Key: c.Key, ChunkBytes: c.ChunkBytes}.Check(bad, "write database.table", strings.EqualFold)
	if c.Table != "" && len(c.Table) <= keyed.MaxTable {
		if _, err := parseTable(c.Table); err != nil {
			bad("table", "write table or database.table, and other names in `backquotes`", "%s", err)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
