package messages

import "drayage/pkg/source"

// Settings are the keys that all sources of messages have.
type Settings struct {
	// Format is the name of a Format; empty: JSONEachRow.
	Format string
	// From is where a job that follows no state begins: "earliest" (default),
	// "latest", or a time such as 2026-01-31T00:00:00Z.
	From string
	// Metadata adds columns of what the broker knows of a message.
	Metadata bool
	// ChunkBytes is about how large a chunk is; 0: DefaultChunkBytes.
	ChunkBytes int64
	// Rows is how many offsets a chunk has; 0: by ChunkBytes, at most DefaultRows.
	Rows uint64
}

// Defaults of Settings.
const (
	DefaultChunkBytes = 128 << 20
	DefaultRows       = 100_000
)

// Check reports every mistake in the settings.
func (s Settings) Check(bad source.Complain) {
	f, known := formatNamed(s.Format)
	switch {
	case !known:
		bad("format", "one of "+Names(), "%q is not a format of messages", s.Format)
	case s.Metadata && !f.Metadata():
		bad("metadata", "write format: JSONEachRow or format: raw", "can not stand beside rows of %s", f)
	}
	if _, err := parseStart(s.From); err != nil {
		bad("from", "earliest, latest, or a time such as 2026-01-31T00:00:00Z", "%q is not known", s.From)
	}
	if s.ChunkBytes < 0 {
		bad("chunk", "128MiB is the default", "is negative")
	}
}

// Reading is how messages are read: Settings, parsed.
type Reading struct {
	Format Format
	Start  Start
	Fields []Field // columns of what the broker knows; none without Metadata
}

// Reading parses settings that have no mistakes; metadata are what the broker
// knows.
func (s Settings) Reading(metadata []Field) (r Reading) {
	r.Format, _ = formatNamed(s.Format)
	r.Start, _ = parseStart(s.From)
	if s.Metadata {
		r.Fields = metadata
	}
	return r
}

// Per is how many offsets a chunk has whose messages have a mean size.
func (s Settings) Per(mean int64) int64 {
	if s.Rows > 0 {
		return int64(min(s.Rows, 1<<62)) //nolint:gosec // bounded
	}
	size := s.ChunkBytes
	if size == 0 {
		size = DefaultChunkBytes
	}
	return min(max(size/max(mean, 1), 1), DefaultRows)
}
