package messages

import "time"

// Start is where a job that follows no other begins.
type Start struct {
	Latest bool      // with the next message that comes
	After  time.Time // with the first message of that time or later; zero: with the first
}

// parseStart reads "earliest" (also the empty text), "latest", or a time such as
// 2026-01-31T00:00:00Z.
func parseStart(from string) (Start, error) {
	switch from {
	case "", "earliest":
		return Start{}, nil
	case "latest":
		return Start{Latest: true}, nil
	}
	t, err := time.Parse(time.RFC3339, from)
	return Start{After: t}, err
}
