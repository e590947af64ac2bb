package queue

import (
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"drayage/pkg/job"
)

const defaultInboxes = "_INBOX"

// login is how to connect as the configuration says, and the prefix of the
// inboxes. Whoever has a key or a name has inboxes of its own, which is what
// lets a server keep others out of them.
func (c Config) login() (opts []nats.Option, inboxes string, err error) {
	inboxes = defaultInboxes
	broken := func(format string, args ...any) ([]nats.Option, string, error) {
		return nil, "", job.WithClass(fmt.Errorf(format, args...), job.Permanent)
	}
	switch {
	case c.Creds != "":
		id, err := publicKey(c.Creds)
		if err != nil {
			return broken("DRAY_NATS_CREDS: %w", err)
		}
		inboxes = InboxPrefix(id)
		opts = append(opts, nats.UserCredentials(c.Creds)) // read again at each connection
	case c.NKey != "":
		id, err := publicKey(c.NKey)
		if err != nil {
			return broken("DRAY_NATS_NKEY: %w", err)
		}
		inboxes = InboxPrefix(id)
		o, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return broken("DRAY_NATS_NKEY %s: %w", c.NKey, err)
		}
		opts = append(opts, o)
	case c.User != "":
		// Read again at each connection too.
		opts = append(opts, nats.UserInfoHandler(func() (string, string) {
			password, _ := c.password() // it could be read when this was made
			return c.User, password
		}))
		if _, err := c.password(); err != nil {
			return broken("DRAY_NATS_PASSWORD_FILE: %w", err)
		}
		inboxes = InboxPrefix(c.User)
	}
	if c.CA != "" {
		opts = append(opts, nats.RootCAs(c.CA))
	}
	if c.Cert != "" {
		opts = append(opts, nats.ClientCert(c.Cert, c.Key))
	}
	if c.InboxPrefix != "" {
		inboxes = c.InboxPrefix
	}
	return opts, inboxes, nil
}

// InboxPrefix is that of the inboxes of a user of NATS, by its public key or its
// name: one token, different for different ones.
func InboxPrefix(user string) string { return defaultInboxes + "_" + keyToken(user) }

func (c Config) password() (string, error) {
	if c.PasswordFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// publicKey is that of the user whose seed a file has: an nkey seed, or
// credentials with one. What is wrong with a file is said without its text.
func publicKey(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	defer clear(text)
	pair, err := nkeys.ParseDecoratedUserNKey(text)
	if err != nil {
		return "", fmt.Errorf("%s holds no seed of a user (SU…): %w", path, err)
	}
	defer pair.Wipe()
	return pair.PublicKey()
}
