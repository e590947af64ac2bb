package job

// Lookup is a lookup as it was when the job was planned. Every worker loads
// exactly these rows, or fails its chunks.
type Lookup struct {
	Columns []Column `json:"columns"`
	Rows    uint64   `json:"rows"`
	Bytes   int64    `json:"bytes"` // of the file, or of the rows without compression
	// Hash of a file's content, SHA-256 in hexadecimal. Empty for other lookups.
	Hash string `json:"hash,omitempty"`
	// Database and Table are where the rows were copied to, in the target's
	// ClickHouse; UUID is that of the table. Nobody writes to it once it is
	// recorded here. Empty for a file.
	Database string `json:"database,omitempty"`
	Table    string `json:"table,omitempty"`
	UUID     string `json:"uuid,omitempty"`
}

// Copied reports whether the rows are in a table that is dropped when the job
// has ended.
func (l Lookup) Copied() bool { return l.Table != "" }
