package quarantine

import (
	"fmt"

	"drayage/pkg/job"
)

// TooManyError says that more rows of a chunk were rejected than its pipeline
// allows. It is marked job.Permanent.
type TooManyError struct {
	Rejected uint64 // found so far; when Separate stops early there may be more
	Records  uint64 // of the chunk
	Limit    uint64
	First    job.Reject // the one that stands first in the chunk
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("%d of %d rows were rejected, reject.max allows %d; the first is %s", e.Rejected, e.Records, e.Limit, describe(e.First))
}

func describe(r job.Reject) string {
	s := fmt.Sprintf("record %d", r.Record)
	if r.Offset >= 0 {
		s += fmt.Sprintf(" at byte %d", r.Offset)
	}
	if r.Column != "" {
		s += ", column " + r.Column
	}
	return s + ": " + r.Reason
}

// UnexplainedError says that a chunk fails and that no record of it does by
// itself, or that finding those that do takes too long. It is marked
// job.Permanent.
type UnexplainedError struct {
	Why string
	Err error // what the engine said of the chunk
}

func (e *UnexplainedError) Error() string { return e.Why + ": " + e.Err.Error() }

// Unwrap gives the engine's error.
func (e *UnexplainedError) Unwrap() error { return e.Err }
