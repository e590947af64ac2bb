package source

import (
	"context"
	"encoding/json"
	"fmt"
)

// Incremental is a Source that can read what came since an earlier job.
type Incremental interface {
	// Bounds fixes what a job reads: what came since state, which is the next of
	// an earlier call (nil: everything). A source that is made with bounds plans
	// and opens just that, as long as it is not changed; next is the state once
	// the job is done. It reads no rows. What state needs and is gone is an error
	// marked job.Permanent. Both are less than 64 KiB.
	Bounds(ctx context.Context, state json.RawMessage) (bounds, next json.RawMessage, err error)
}

// Versioned is a Source of inputs that come and stay, such as files. Made with
// a set of versions that were loaded before, it leaves those out of its plan.
type Versioned interface {
	// Version names the input of a chunk and its version, alike for all chunks of
	// the input; "" for a chunk that only says why an input can not be read.
	Version(input json.RawMessage) (string, error)
}

// Span is the bounds of a table that is read by a job.Watermark: the rows whose
// column is above From and at most To, as texts of the server. It is what
// Bounds of such a source encodes.
type Span struct {
	From *string `json:"from,omitempty"` // nil: from the smallest
	To   *string `json:"to,omitempty"`   // nil: there is nothing to read
}

// ParseSpan reads what was encoded; nil for no bounds.
func ParseSpan(bounds json.RawMessage) (*Span, error) {
	if len(bounds) == 0 {
		return nil, nil //nolint:nilnil // no bounds are no error
	}
	var s Span
	if err := json.Unmarshal(bounds, &s); err != nil {
		return nil, fmt.Errorf("the bounds of a job do not parse: %w", err)
	}
	return &s, nil
}

// Where is the condition for the rows of the span: column is quoted for the
// server, and so does quote with a value. A nil span has none.
func (s *Span) Where(column string, quote func(string) string) string {
	switch {
	case s == nil:
		return ""
	case s.To == nil:
		return "1 = 0"
	case s.From == nil:
		return fmt.Sprintf("%s <= %s", column, quote(*s.To))
	}
	return fmt.Sprintf("%[1]s > %[2]s AND %[1]s <= %[3]s", column, quote(*s.From), quote(*s.To))
}

// After is the span of what came since state, and the state after it: latest
// is the largest value that there is, nil for none, and back takes the lookback
// off a value; nil: there is no value as small.
func After(state json.RawMessage, latest *string, back func(string) (*string, error)) (bounds, next json.RawMessage, err error) {
	var st Span // only To counts
	if len(state) > 0 {
		if err := json.Unmarshal(state, &st); err != nil {
			return nil, nil, fmt.Errorf("the state of the watermark does not parse: %w", err)
		}
	}
	span := Span{To: latest}
	if st.To != nil {
		if span.From, err = back(*st.To); err != nil {
			return nil, nil, err
		}
	}
	if latest == nil { // an empty table says nothing about what is to come
		latest = st.To
	}
	if bounds, err = json.Marshal(span); err != nil {
		return nil, nil, err
	}
	next, err = json.Marshal(Span{To: latest})
	return bounds, next, err
}
