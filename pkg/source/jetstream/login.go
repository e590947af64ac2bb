package jetstream

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Login is how a client says who it is, as all clients of NATS do: one of a
// user with a password, a token, an nkey and credentials; beside them the
// certificates of TLS, which may also be all that there is.
type Login struct {
	User, Password string
	Token          string
	NKey           string // the seed of a user, which begins with SU
	// Creds is a file of credentials (a JWT and its seed), or what is in one. A
	// path that is not absolute starts at Certificates.Dir.
	Creds string
	source.Certificates
}

// check reports mistakes that can be seen without a file. Named says that the
// address names a user.
func (l Login) check(named bool, bad source.Complain) {
	ways := 0
	for _, one := range []string{l.User, l.Token, l.NKey, l.Creds} {
		if one != "" {
			ways++
		}
	}
	switch {
	case l.Password != "" && l.User == "":
		bad("user", "", "is missing beside a password")
	case named && ways > 0:
		bad("url", "leave one of them out", "names a user, and there is another login")
	case ways > 1:
		bad("user", "leave one of user, token, nkey and creds", "there are %d ways to log in", ways)
	}
	if l.NKey != "" {
		if _, err := l.key(); err != nil {
			bad("nkey", "the seed of a user, which begins with SU, such as ${env:NATS_NKEY}", "is not a seed of a user")
		}
	}
	l.Certificates.Check(bad)
}

// key is the nkey.
func (l Login) key() (nkeys.KeyPair, error) {
	seed := []byte(strings.TrimSpace(l.NKey))
	prefix, _, err := nkeys.DecodeSeed(seed)
	if err != nil {
		return nil, err
	}
	if prefix != nkeys.PrefixByteUser {
		return nil, errors.New("the seed is not one of a user")
	}
	return nkeys.FromSeed(seed)
}

// options are those of the client.
func (l Login) options() ([]nats.Option, error) {
	var opts []nats.Option
	switch {
	case l.User != "":
		opts = append(opts, nats.UserInfo(l.User, l.Password))
	case l.Token != "":
		opts = append(opts, nats.Token(l.Token))
	case l.NKey != "":
		key, err := l.key()
		if err != nil {
			return nil, job.Permanentf("nkey: %w", err)
		}
		public, err := key.PublicKey()
		if err != nil {
			return nil, job.Permanentf("nkey: %w", err)
		}
		opts = append(opts, nats.Nkey(public, key.Sign))
	case l.Creds != "":
		creds, err := l.creds()
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.UserCredentialBytes(creds))
	}
	if !l.Certificates.Some() {
		return opts, nil
	}
	cfg, err := l.Certificates.TLS()
	if err != nil {
		return nil, err
	}
	return append(opts, nats.Secure(cfg)), nil
}

// inlineCreds is how the content of a file of credentials begins.
const inlineCreds = "-----BEGIN"

// creds are the credentials, read and looked at.
func (l Login) creds() ([]byte, error) {
	content, from := []byte(l.Creds), "creds"
	if !strings.HasPrefix(strings.TrimSpace(l.Creds), inlineCreds) {
		path := source.Within(l.Dir, l.Creds)
		from = path
		var err error
		if content, err = l.Allow.ReadFile(path); err != nil {
			return nil, job.Permanentf("reading the credentials of NATS: %w", err)
		}
	}
	if _, err := nkeys.ParseDecoratedUserNKey(content); err != nil {
		return nil, job.Permanentf("%s holds no credentials of NATS, which are a JWT and the seed of a user", from)
	}
	return content, nil
}
