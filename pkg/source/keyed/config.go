package keyed

import (
	"encoding/json"
	"slices"

	"drayage/pkg/allow"
	"drayage/pkg/job"
	"drayage/pkg/source"
)

const (
	// ChunkBytes is about how large a chunk is where nobody says.
	ChunkBytes = 128 << 20
	// MaxRows bounds the rows of a chunk where nobody says how many.
	MaxRows = 1_000_000
	// MaxKey bounds the columns of a key.
	MaxKey = 8
	// MaxTable bounds the name of a table in a pipeline: two identifiers, quoted.
	MaxTable = 300

	// maxPer keeps products with the rows of a chunk in an int64.
	maxPer = 1 << 40
)

// Config is the block of a pipeline about a table or query. Packages mysql and
// postgres say what URL and Table are with them.
type Config struct {
	URL string
	// Table is a table or view, as in SQL. Exactly one of Table and Query is set.
	Table string
	// Query is a SELECT.
	Query string
	// Key are the columns to cut by; empty: those that the package chooses.
	Key []string
	// Where is a predicate in SQL that the rows must meet; empty: all.
	Where string

	Columns    []job.Column // those to read, and their types; empty: all, typed as the package maps them
	ChunkBytes int64        // about how large a chunk is; 0: ChunkBytes
	Rows       uint64       // rows of a chunk; 0: by ChunkBytes, at most MaxRows
	Seats      source.Seats // for the connections; nil: unbounded
	Allow      *allow.Rules // what may be reached; nil: everything

	Watermark job.Watermark   // for Source.Bounds
	Bounds    json.RawMessage // what Source.Bounds returned; nil: everything
}

// Name is what is read, for people.
func (c Config) Name() string {
	if c.Table != "" {
		return "table " + c.Table
	}
	return "the query"
}

// Gone is the error of a table that is not there any more.
func (c Config) Gone() error {
	return job.Permanentf("%s: %w: it was dropped or renamed after the job was planned", c.Name(), source.ErrGone)
}

// Changed is the error of columns that are not those of the plan.
func (c Config) Changed() error {
	return job.Permanentf("%s: %w: its columns have other names, types or NOT NULL than when the job was planned; start a new job",
		c.Name(), source.ErrChanged)
}

// Check reports what can be seen without a server. Two names of columns are the
// same by same, and hint says how the name of a table is written.
func (c Config) Check(bad source.Complain, hint string, same func(a, b string) bool) {
	switch {
	case c.Table == "" && c.Query == "":
		bad("table", "name a table, or write query: SELECT …", "is missing")
	case c.Table != "" && c.Query != "":
		bad("query", "leave out one of them", "can not stand beside table")
	case len(c.Table) > MaxTable:
		bad("table", hint, "has more than %d letters", MaxTable)
	}
	if len(c.Key) > MaxKey {
		bad("key", "the first of them are enough", "has %d columns; %d are possible", len(c.Key), MaxKey)
	}
	for i, k := range c.Key {
		switch {
		case k == "":
			bad("key", "name a column", "has an empty name")
		case slices.ContainsFunc(c.Key[:i], func(o string) bool { return same(o, k) }):
			bad("key", "name it once", "%q is there twice", k)
		}
	}
	if c.ChunkBytes < 0 {
		bad("chunk", "128MiB is the default", "is negative")
	}
}

// Per is how many rows of mean bytes a chunk has: as many as were asked for or,
// for 0, as chunkBytes hold.
func Per(rows uint64, chunkBytes, mean int64) int64 {
	if rows == 0 {
		return min(max(chunkBytes/mean, 1), MaxRows)
	}
	return int64(min(rows, maxPer)) //nolint:gosec // bounded
}
