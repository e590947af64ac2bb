package job

import "math"

// The columns that Drayage adds to the tables it creates, and uses in tables
// that have them: which job and which chunk a row came with. They are what
// makes the rows of a job countable, and so provable.
const (
	JobColumn   = "_job"   // LowCardinality(String): the job's identifier
	ChunkColumn = "_chunk" // UInt32: the chunk's ordinal, at most MaxOrdinal
)

// MaxOrdinal is the highest ordinal of a chunk: every byte of ChunkColumn is
// sorted, compressed and merged with each row, and four billion chunks are
// enough. The source's chunks have the lower half, replacements the upper.
const (
	MaxPlanned       = math.MaxInt32
	FirstReplacement = MaxPlanned + 1
	MaxOrdinal       = math.MaxUint32
)

// Provenance are the two columns with their types.
func Provenance() []Column {
	return []Column{{Name: JobColumn, Type: "LowCardinality(String)"}, {Name: ChunkColumn, Type: "UInt32"}}
}
