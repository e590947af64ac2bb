package job

import "time"

// Attempt says how one delivery of a chunk that did not end in a result went.
// It is for watching and may be lost; nothing is decided by it.
type Attempt struct {
	Job        string    `json:"job"`
	Chunk      uint64    `json:"chunk"`
	Generation uint32    `json:"generation"`
	Attempt    int       `json:"attempt"` // the delivery, from 1
	Worker     string    `json:"worker"`
	Verdict    string    `json:"verdict"` // VerdictKind.String
	Error      string    `json:"error"`
	At         time.Time `json:"at"` // when the attempt ended
	// How long the attempt took, and how much of it went where, in
	// milliseconds; 0 when that part was not reached.
	TookMS      int64 `json:"took_ms"`
	TransformMS int64 `json:"transform_ms,omitempty"`
	LoadMS      int64 `json:"load_ms,omitempty"`
	// RetryMS is the pause asked for before the next delivery.
	RetryMS int64 `json:"retry_ms,omitempty"`
}
