package messages

import (
	"errors"
	"io"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Message is one message. A nil Value means that it has none.
type Message struct {
	Value []byte
	Data  []Datum // one a field; nil where no fields are asked for
}

// ErrNotYet says that a Feed would have to wait for the next message.
var ErrNotYet = errors.New("no message is here yet")

// Feed gives the messages of a chunk, one after the other.
type Feed interface {
	// Next returns the next message, which is good until the next call, and
	// io.EOF after the last. Without wait it returns ErrNotYet rather than
	// wait for the broker.
	Next(wait bool) (Message, error)
}

// Input is the open chunk of a feed, of so many bytes. Messages without a value are
// left out where the format has no row for them. end frees what the feed took.
func (r Reading) Input(feed Feed, columns []job.Column, bytes int64, end func()) *source.Input {
	rows := &reader{rows: newEncoder(r.Format, columns, r.Fields), feed: feed}
	return &source.Input{
		Reader: rows, Format: r.Format.Input(), Compression: "none",
		Structure: columns, Settings: r.Format.Settings(), Bytes: bytes,
		Check: rows.failure,
		Close: func() error { end(); return nil },
	}
}

// reader is a feed as the bytes of an input. It holds one row.
type reader struct {
	rows *encoder
	feed Feed
	row  []byte
	at   int // in row
	err  error
}

// Read implements io.Reader. It waits for the broker only when it has nothing
// to return.
func (r *reader) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) && (r.at < len(r.row) || r.advance(n == 0)) {
		m := copy(b[n:], r.row[r.at:])
		n, r.at = n+m, r.at+m
	}
	if n > 0 || len(b) == 0 {
		return n, nil
	}
	return 0, r.err
}

// advance makes the next row.
func (r *reader) advance(wait bool) bool {
	for r.err == nil {
		m, err := r.feed.Next(wait)
		switch {
		case errors.Is(err, ErrNotYet):
			return false
		case err != nil:
			r.err = err
		case m.Value == nil && !r.rows.keepsNull: // no row
		default:
			r.row, r.at = r.rows.Append(r.row[:0], m.Value, m.Data), 0
			return true
		}
	}
	return false
}

// failure is the error that the reading ended with, nil at the end of the
// messages or before it.
func (r *reader) failure() error {
	if errors.Is(r.err, io.EOF) {
		return nil
	}
	return r.err
}
