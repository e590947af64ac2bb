// Package replay holds the sources of jobs that load what another job left:
// chunks by the descriptions that they were planned with (Chunks), and rows in
// quarantine (Rejects). Both stand on the source of the pipeline, which opens
// the chunks and knows the format.
package replay

import (
	"encoding/json"
	"errors"
	"fmt"

	"drayage/pkg/job"
)

// cursor is where planning goes on.
type cursor struct {
	Last  uint64 `json:"l"` // the ordinal that was yielded last
	Count uint64 `json:"n"` // of what was yielded; 0 before the first
}

// errStop ends a listing whose reader has enough.
var errStop = errors.New("stop")

// begin reads a cursor and returns the first ordinal after it.
func begin(from json.RawMessage) (at cursor, first uint64, err error) {
	if len(from) == 0 {
		return at, 0, nil
	}
	if err := json.Unmarshal(from, &at); err != nil {
		return at, 0, job.Permanentf("the cursor of a replay does not parse: %w", err)
	}
	return at, at.Last + 1, nil
}

// advance moves the cursor to the chunk with this ordinal.
func (c *cursor) advance(ordinal uint64) (json.RawMessage, error) {
	if c.Count > 0 && ordinal <= c.Last {
		return nil, fmt.Errorf("chunk %d is listed after chunk %d: they must come in ascending order", ordinal, c.Last)
	}
	c.Last = ordinal
	c.Count++
	return json.Marshal(c)
}
