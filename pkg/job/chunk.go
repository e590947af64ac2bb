package job

import (
	"encoding/json"
	"fmt"
	"time"
)

// MaxDescriptor bounds the encoded size of a Chunk, in bytes. Chunks say what
// to read; they never carry data or secrets.
const MaxDescriptor = 4096

// Chunk is the unit of work, of delivery and of deduplication: the part of the
// input that one worker extracts, transforms and loads as one block.
type Chunk struct {
	Job        string `json:"job"`
	Ordinal    uint64 `json:"chunk"`      // 0-based, dense, in plan order; from FirstReplacement on for replacements
	Generation uint32 `json:"generation"` // 0 as planned; that of the chunk it replaces plus 1
	Bytes      int64  `json:"bytes"`      // input size in bytes, an estimate for progress; 0 when unknown
	// Input names what to read, in the terms of the job's source, together
	// with the version it was planned from. Only the source reads it.
	Input json.RawMessage `json:"input"`
	// Protocol is the lowest that a worker must speak to do the chunk, see the
	// constant; 0: any.
	Protocol int `json:"protocol,omitempty"`
}

// Token is the insert_deduplication_token of the chunk's block number block for
// a target, both from 0. It depends on these, job, chunk and generation and never
// on the attempt: every attempt of a chunk deduplicates against every other.
func (c Chunk) Token(target, block int) string {
	token := fmt.Sprintf("%s/%d/%d/%d", c.Job, c.Ordinal, block, c.Generation)
	if target > 0 {
		token += fmt.Sprintf("/%d", target)
	}
	return token
}

// Result says how a chunk ended well: its rows are loaded, or it was cut into
// parts that replace it. The first result recorded for a chunk is the one that
// counts, so a chunk is never both.
type Result struct {
	Job          string    `json:"job"`
	Chunk        uint64    `json:"chunk"`
	Generation   uint32    `json:"generation"`
	Attempt      int       `json:"attempt"` // the delivery that succeeded, from 1
	Worker       string    `json:"worker"`
	RowsRead     uint64    `json:"rows_read"`
	RowsLoaded   uint64    `json:"rows_loaded"` // into all targets
	RowsRejected uint64    `json:"rows_rejected"`
	BytesRead    int64     `json:"bytes_read"`   // of input, as stored (compressed size for compressed files)
	BytesLoaded  int64     `json:"bytes_loaded"` // of the Native blocks sent
	Hash         string    `json:"hash"`         // xxhash64 of the first target's Native block, hexadecimal
	StartedAt    time.Time `json:"started_at"`
	TransformMS  int64     `json:"transform_ms"` // extract and SQL, which overlap
	LoadMS       int64     `json:"load_ms"`
	Shares       []Share   `json:"shares,omitempty"` // of several targets, what each got
	// Recovered is true when the rows were found in ClickHouse, put there by
	// an earlier attempt that died before it could record them.
	Recovered bool `json:"recovered,omitempty"`
	// Input and Bytes are the chunk's own, so that what it names can be
	// loaded again when the chunk itself has long left the queue.
	Input json.RawMessage `json:"input,omitempty"`
	Bytes int64           `json:"bytes,omitempty"`
	// Parts, when there are any, say that nothing was loaded because the
	// chunk is too big for one attempt: it is retired, and these replace it.
	Parts []Part `json:"parts,omitempty"`
	// Protocol is the lowest that a coordinator must speak to count it, see the
	// constant; 0: any.
	Protocol int `json:"protocol,omitempty"`
}

// Part is a piece of the input of a chunk.
type Part struct {
	Input json.RawMessage `json:"input"`
	Bytes int64           `json:"bytes"`
}

// Share is what one of several targets got of a chunk.
type Share struct {
	RowsLoaded  uint64 `json:"rows_loaded"`
	BytesLoaded int64  `json:"bytes_loaded"`
	Hash        string `json:"hash"`
}

// Of is the result as far as one target is concerned, from 0. What was read and
// rejected counts for the first.
func (r Result) Of(target int) Result {
	if target > 0 {
		r.RowsRead, r.RowsRejected, r.BytesRead = 0, 0, 0
		r.RowsLoaded, r.BytesLoaded, r.Hash = 0, 0, ""
	}
	if target < len(r.Shares) {
		s := r.Shares[target]
		r.RowsLoaded, r.BytesLoaded, r.Hash = s.RowsLoaded, s.BytesLoaded, s.Hash
	}
	r.Shares = nil
	return r
}

// Loaded reports whether the result is that of loaded rows.
func (r Result) Loaded() bool { return len(r.Parts) == 0 }

// Dead is a dead letter: a chunk that was given up, and why.
type Dead struct {
	Chunk    Chunk     `json:"chunk"`
	Worker   string    `json:"worker"`
	Attempts int       `json:"attempts"`
	Reason   string    `json:"reason"` // one of the Reason constants
	Error    string    `json:"error"`
	At       time.Time `json:"at"`
}

// Reasons of a dead letter.
const (
	ReasonPermanent = "permanent" // the error will not go away by trying again
	ReasonAttempts  = "attempts"  // retry.attempts deliveries failed or killed their worker
	ReasonRejects   = "rejects"   // more rows were rejected than reject.max allows
	ReasonTooBig    = "too_big"   // it takes too much memory or time and can not be cut any more
)
