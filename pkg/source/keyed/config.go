package keyed

import "slices"

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

// Config is what a pipeline says of a table or query, and how it is cut.
type Config struct {
	Table, Query string
	Key          []string
	ChunkBytes   int64
}

// Check reports what can be seen without a server. Two names of columns are the
// same by same, and hint says how the name of a table is written.
func (c Config) Check(bad func(field, hint, problem string, args ...any), hint string, same func(a, b string) bool) {
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
