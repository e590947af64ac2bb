package kafka

import (
	"encoding/json"
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
	messages.Settings        // Metadata are _topic, _partition, _offset, _timestamp, _key and _headers
	// Bounds are what Source.Bounds returned; nil: Plan asks the broker when it
	// begins, and carries them in its cursors.
	Bounds json.RawMessage

	Columns []job.Column // empty: the engine infers them from the first messages
	Seats   source.Seats // for the connections; nil: unbounded
}

// Validate reports every mistake that can be seen without a broker, as
// source.FieldErrors, or nil.
func (c Config) Validate() error {
	var all source.FieldErrors
	bad := all.Bad
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
	c.Certificates.Check(bad)
	if _, known := mechanism(c); !known {
		bad("mechanism", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", "%q is not known", c.SASL)
	}
	c.Settings.Check(bad)
	return all.Err()
}

// maxTopic is Kafka's bound on the name of a topic.
const maxTopic = 249
