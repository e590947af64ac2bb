package job

// Reject is a row in quarantine: a record of the input that could not be read,
// or a value of which did not fit its column.
type Reject struct {
	Record uint64 `json:"record"` // its place in the chunk, from 1
	// Offset is where the record begins in its file or object, in bytes; -1
	// when that can not be told, as for compressed input.
	Offset int64  `json:"offset"`
	Raw    string `json:"raw"` // the record as it stands in the input, at most MaxRaw bytes of it
	Cut    bool   `json:"cut,omitempty"`
	Column string `json:"column,omitempty"` // empty when it is the record as a whole
	Reason string `json:"reason"`           // for a person
}

// MaxRaw bounds Reject.Raw, in bytes. A record that was cut can not be retried.
const MaxRaw = 1 << 20
