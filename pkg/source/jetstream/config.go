package jetstream

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/messages"
)

// Config is the block source.jetstream of a pipeline.
type Config struct {
	URL    string // nats://host:4222, or several with commas between; tls:// too
	Stream string
	// Subject, when set, leaves out messages of other subjects. It may have the
	// wildcards * and >.
	Subject string
	// Login is who reads; the zero value is nobody in particular, or the user
	// in URL.
	Login             Login
	messages.Settings // Metadata are _subject, _sequence, _timestamp and _headers
	// Bounds are what Source.Bounds returned; nil: Plan asks the server when it
	// begins, and carries them in its cursors.
	Bounds json.RawMessage

	Columns []job.Column // empty: the engine infers them from the first messages
	Seats   source.Seats // for the connections; nil: unbounded
}

var schemes = []string{"nats", "tls", "ws", "wss"}

// Validate reports every mistake that can be seen without a server, as
// source.FieldErrors, or nil. What it says holds no password.
func (c Config) Validate() error {
	var all source.FieldErrors
	bad := all.Bad
	named := c.checkURL(bad)
	c.Login.check(named, bad)
	switch {
	case c.Stream == "":
		bad("stream", "name the stream", "is missing")
	case len(c.Stream) > maxName || strings.ContainsAny(c.Stream, " \t\r\n.*>/\\"):
		bad("stream", "", "%q can not be the name of a stream", c.Stream)
	}
	if c.Subject != "" && !isSubject(c.Subject) {
		bad("subject", "such as orders.> or orders.*.created", "%q is not a subject", c.Subject)
	}
	c.Settings.Check(bad)
	return all.Err()
}

// checkURL reports whether the addresses name a user.
func (c Config) checkURL(bad source.Complain) (named bool) {
	if c.URL == "" {
		bad("url", "write url: nats://host:4222", "is missing")
		return false
	}
	for one := range strings.SplitSeq(c.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" {
			bad("url", "write nats://host:4222, with commas between several", "is not the address of a server of NATS")
			return false
		}
		named = named || u.User != nil
	}
	return named
}

// maxName is the server's bound on the name of a stream.
const maxName = 255

// isSubject reports whether text is a subject, wildcards included.
func isSubject(text string) bool {
	tokens := strings.Split(text, ".")
	for i, t := range tokens {
		if t == "" || strings.ContainsAny(t, " \t\r\n") || len(t) > 1 && t != ">" && strings.ContainsAny(t, "*>") || t == ">" && i < len(tokens)-1 {
			return false
		}
	}
	return true
}
