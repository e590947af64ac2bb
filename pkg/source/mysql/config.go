package mysql

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"drayage/pkg/allow"
	"drayage/pkg/job"
	"drayage/pkg/source"
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
	if c.URL == "" {
		bad("url", urlHint, "is missing")
	} else if _, err := parseURL(c.URL, c.Allow); err != nil {
		bad("url", urlHint, "%s", err)
	}
	switch {
	case c.Table == "" && c.Query == "":
		bad("table", "name a table, or write query: SELECT …", "is missing")
	case c.Table != "" && c.Query != "":
		bad("query", "leave out one of them", "can not stand beside table")
	case len(c.Table) > maxTable:
		bad("table", "write database.table", "has more than %d letters", maxTable)
	case c.Table != "":
		if _, err := parseTable(c.Table); err != nil {
			bad("table", "write table or database.table, and other names in `backquotes`", "%s", err)
		}
	}
	if len(c.Key) > maxKey {
		bad("key", "the first of them are enough", "has %d columns; %d are possible", len(c.Key), maxKey)
	}
	for i, k := range c.Key {
		switch {
		case k == "":
			bad("key", "name a column", "has an empty name")
		case slices.ContainsFunc(c.Key[:i], func(o string) bool { return strings.EqualFold(o, k) }):
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
