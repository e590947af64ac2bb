package kafka

import (
	"encoding/json"
	"fmt"
	"net"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/messages"
)

// Config is the block source.kafka of a pipeline.
type Config struct {
	Brokers []string // host:port, at least one
	Topic   string
	TLS     bool // which Certificates ask for as well
	source.Certificates
	// Username and Password, when set, are sent by the mechanism SASL: PLAIN,
	// SCRAM-SHA-256 or SCRAM-SHA-512; PLAIN by default.
	Username, Password, SASL string
	// Format is one of package messages; JSONEachRow by default.
	Format string
	// From is where a job that follows no state begins: "earliest" (default),
	// "latest", or a time such as 2026-01-31T00:00:00Z.
	From string
	// Metadata adds the columns _topic, _partition, _offset, _timestamp, _key and
	// _headers.
	Metadata bool
	// Bounds are what Source.Bounds returned; nil: Plan asks the broker when it
	// begins, and carries them in its cursors.
	Bounds json.RawMessage

	Columns    []job.Column // empty: the engine infers them from the first messages
	ChunkBytes int64        // about how large a chunk is; 128 MiB by default
	Rows       uint64       // offsets of a chunk; 0: by ChunkBytes, at most DefaultRows
	Seats      source.Seats // for the connections; nil: unbounded
}

// DefaultRows bounds the offsets of a chunk when Config.Rows names none.
const DefaultRows = 100_000

const defaultChunkBytes = 128 << 20

// Validate reports every mistake that can be seen without a broker, as
// source.FieldErrors, or nil.
func (c Config) Validate() error {
	var all source.FieldErrors
	bad := func(field, hint, problem string, args ...any) {
		all = append(all, &source.FieldError{Field: field, Problem: fmt.Sprintf(problem, args...), Hint: hint})
	}
	if len(c.Brokers) == 0 {
		bad("brokers", "write brokers: [host:9092]", "is missing")
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			bad("brokers", "write host:port, such as kafka:9092", "%q is not an address", b)
		}
	}
	switch {
	case c.Topic == "":
		bad("topic", "name the topic", "is missing")
	case len(c.Topic) > maxTopic:
		bad("topic", "", "has more than %d letters, which is all that Kafka allows", maxTopic)
	}
	switch {
	case c.SASL != "" && c.Username == "":
		bad("username", "name the user, or leave out mechanism", "is missing")
	case c.Password != "" && c.Username == "":
		bad("username", "", "is missing beside a password")
	}
	c.Check(bad)
	if _, known := mechanism(c); !known {
		bad("mechanism", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", "%q is not known", c.SASL)
	}
	f, known := messages.FormatNamed(c.Format)
	switch {
	case !known:
		bad("format", "one of "+messages.Names(), "%q is not a format of messages", c.Format)
	case c.Metadata && !f.Metadata():
		bad("metadata", "write format: JSONEachRow or format: raw", "can not stand beside rows of %s", f)
	}
	if _, err := messages.ParseStart(c.From); err != nil {
		bad("from", "earliest, latest, or a time such as 2026-01-31T00:00:00Z", "%q is not known", c.From)
	}
	if c.ChunkBytes < 0 {
		bad("chunk", "128MiB is the default", "is negative")
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// maxTopic is Kafka's bound on the name of a topic.
const maxTopic = 249
