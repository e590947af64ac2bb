package job

// The columns that Drayage adds to the tables it creates, and uses in tables
// that have them: which job and which chunk a row came with. They are what
// makes the rows of a job countable, and so provable.
const (
	JobColumn   = "_job"   // LowCardinality(String): the job's identifier
	ChunkColumn = "_chunk" // UInt64: the chunk's ordinal
)

// Provenance are the two columns with their types.
func Provenance() []Column {
	return []Column{{Name: JobColumn, Type: "LowCardinality(String)"}, {Name: ChunkColumn, Type: "UInt64"}}
}
