package jetstream

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/messages"
	"drayage/pkg/source/messages/messagestest"
)

// asked asks for the stream, which the server does not have, and returns what
// becomes of it: source.ErrGone once one is logged in.
func asked(t *testing.T, cfg Config) error {
	t.Helper()
	cfg.Stream, cfg.Columns = "S", messagestest.ColumnN
	s, err := New(cfg)
	if err != nil {
		return err
	}
	_, err = s.Columns(t.Context(), eng)
	return err
}

func loggedIn(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, source.ErrGone) {
		t.Errorf("%s: %v", what, err)
	}
}

// refused checks an error of a login, which no retry cures and which shows no
// secret.
func refused(t *testing.T, what string, err error, says string, secrets ...string) {
	t.Helper()
	if job.ClassOf(err) != job.Permanent || errors.Is(err, source.ErrGone) || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("%s: %v", what, err)
	}
	for _, secret := range secrets {
		if strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("%s shows a secret: %v", what, err)
		}
	}
}

func userKey(t *testing.T) nkeys.KeyPair {
	t.Helper()
	k, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func seed(t *testing.T) string { t.Helper(); return seedOf(t, userKey(t)) }

func seedOf(t *testing.T, k nkeys.KeyPair) string {
	t.Helper()
	s, err := k.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return string(s)
}

func publicOf(t *testing.T, k nkeys.KeyPair) string {
	t.Helper()
	p, err := k.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestUserAndToken(t *testing.T) {
	b := start(t, server.Options{Users: []*server.User{
		{Username: "u", Password: "right"},
		{Username: "less", Password: "right", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.>"}}}},
	}})
	loggedIn(t, "a user", asked(t, Config{URL: b.url, Login: Login{User: "u", Password: "right"}}))
	loggedIn(t, "a user in the address", asked(t, Config{URL: strings.Replace(b.url, "nats://", "nats://u:right@", 1)}))
	refused(t, "a wrong password", asked(t, Config{URL: b.url, Login: Login{User: "u", Password: "mistaken"}}), "Authorization", "mistaken")
	refused(t, "a wrong password in the address", asked(t, Config{URL: strings.Replace(b.url, "nats://", "nats://u:mistaken@", 1)}), "Authorization", "mistaken")
	refused(t, "nobody", asked(t, Config{URL: b.url}), "Authorization")
	begin := time.Now()
	refused(t, "a user without rights", asked(t, Config{URL: b.url, Login: Login{User: "less", Password: "right"}}), "ermissions")
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("the refusal took %s", took)
	}
	b = start(t, server.Options{Authorization: "right-token"})
	loggedIn(t, "a token", asked(t, Config{URL: b.url, Login: Login{Token: "right-token"}}))
	refused(t, "a wrong token", asked(t, Config{URL: b.url, Login: Login{Token: "mistaken"}}), "Authorization", "mistaken")
}

func TestNKey(t *testing.T) {
	key := userKey(t)
	b := start(t, server.Options{Nkeys: []*server.NkeyUser{{Nkey: publicOf(t, key)}}})
	right, other := seedOf(t, key), seed(t)
	loggedIn(t, "its seed", asked(t, Config{URL: b.url, Login: Login{NKey: right + "\n"}}))
	refused(t, "another seed", asked(t, Config{URL: b.url, Login: Login{NKey: other}}), "Authorization", other)
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "a seed of an account", asked(t, Config{URL: b.url, Login: Login{NKey: seedOf(t, account)}}), "nkey", seedOf(t, account))
}

// credentials are those of a user of an account with JetStream, and the server
// that knows the account.
func credentials(t *testing.T) (broker, string) {
	t.Helper()
	operator, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	encode := func(c jwt.Claims, by nkeys.KeyPair) string {
		t.Helper()
		text, err := c.Encode(by)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	account := func(storage int64) (string, string, nkeys.KeyPair) {
		t.Helper()
		key, err := nkeys.CreateAccount()
		if err != nil {
			t.Fatal(err)
		}
		claims := jwt.NewAccountClaims(publicOf(t, key))
		claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: storage, MemoryStorage: storage}
		return publicOf(t, key), encode(claims, operator), key
	}
	system, systemJWT, _ := account(0)
	id, accountJWT, key := account(-1)
	trusted := jwt.NewOperatorClaims(publicOf(t, operator))
	trusted.SystemAccount = system
	operatorJWT, err := jwt.DecodeOperatorClaims(encode(trusted, operator))
	if err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	for id, text := range map[string]string{system: systemJWT, id: accountJWT} {
		if err := resolver.Store(id, text); err != nil {
			t.Fatal(err)
		}
	}
	b := start(t, server.Options{TrustedOperators: []*jwt.OperatorClaims{operatorJWT}, AccountResolver: resolver, SystemAccount: system})
	user := userKey(t)
	creds, err := jwt.FormatUserConfig(encode(jwt.NewUserClaims(publicOf(t, user)), key), []byte(seedOf(t, user)))
	if err != nil {
		t.Fatal(err)
	}
	return b, string(creds)
}

func TestCreds(t *testing.T) {
	b, creds := credentials(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	loggedIn(t, "the text", asked(t, Config{URL: b.url, Login: Login{Creds: creds}}))
	loggedIn(t, "a path", asked(t, Config{URL: b.url, Login: Login{Creds: write("u.creds", creds)}}))
	loggedIn(t, "a path from a folder", asked(t, Config{URL: b.url, Login: Login{Creds: "u.creds", Certificates: source.Certificates{Dir: dir}}}))
	refused(t, "nobody", asked(t, Config{URL: b.url}), "Authorization")
	err := asked(t, Config{URL: b.url, Login: Login{Creds: filepath.Join(dir, "missing")}})
	if refused(t, "no file", err, "missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	refused(t, "another file", asked(t, Config{URL: b.url, Login: Login{Creds: write("other", "hello")}}), "no credentials")
	half, _, _ := strings.Cut(creds, "-----BEGIN USER NKEY")
	refused(t, "half of it", asked(t, Config{URL: b.url, Login: Login{Creds: half}}), "no credentials")
	_, foreign := credentials(t)
	refused(t, "another operator's", asked(t, Config{URL: b.url, Login: Login{Creds: foreign}}), "Authorization", foreign)
}

func TestTLS(t *testing.T) {
	pair := httptest.NewUnstartedServer(http.NotFoundHandler())
	pair.StartTLS()
	defer pair.Close()
	cert := pair.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	known := x509.NewCertPool()
	known.AddCert(pair.Certificate())
	b := start(t, server.Options{TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert, ClientCAs: known}, TLSTimeout: 10})
	certs := func(c source.Certificates) Config {
		c.Dir = dir
		return Config{URL: b.url, Login: Login{Certificates: c}}
	}
	loggedIn(t, "both know each other", asked(t, certs(source.Certificates{CAFile: "cert.pem", CertFile: "cert.pem", KeyFile: "key.pem"})))
	refused(t, "a server that is not known", asked(t, Config{URL: b.url}), "certificate")
	if err := asked(t, certs(source.Certificates{CAFile: "cert.pem"})); err == nil || errors.Is(err, source.ErrGone) {
		t.Errorf("no certificate of its own: %v", err)
	}
	refused(t, "no file", asked(t, certs(source.Certificates{CAFile: "missing.pem"})), "missing.pem")
	refused(t, "a file of another kind", asked(t, certs(source.Certificates{CAFile: "key.pem"})), "no certificate")
	refused(t, "no pair", asked(t, certs(source.Certificates{CertFile: "key.pem", KeyFile: "cert.pem"})), "cert_file")
}

// The rights that the documentation names are all that a reader needs.
func TestLeastRights(t *testing.T) {
	b := start(t, server.Options{Users: []*server.User{
		{Username: "admin", Password: "right"},
		{Username: "reader", Password: "right", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{
				"$JS.API.STREAM.INFO.S", "$JS.API.STREAM.MSG.GET.S", "$JS.API.CONSUMER.CREATE.S.>",
				"$JS.API.CONSUMER.MSG.NEXT.S.>", "$JS.API.CONSUMER.DELETE.S.>",
			}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}},
	}})
	nc, err := nats.Connect(b.url, nats.UserInfo("admin", "right"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if b.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	b.create(t, jetstream.StreamConfig{})
	b.publish(t, "s.a", messagestest.Numbered(0, 10)...)
	s := b.source(t, Config{Login: Login{User: "reader", Password: "right"}, Subject: "s.a", Settings: messages.Settings{From: "2026-01-01T00:00:00Z", Rows: 4}})
	if columns, err := s.Columns(t.Context(), eng); err != nil || len(columns) != 1 {
		t.Errorf("%v, %v", columns, err)
	}
	if lines, _ := messagestest.Load(t, s, messagestest.ColumnN); !slices.Equal(lines, messagestest.Numbered(0, 10)) {
		t.Errorf("read %v", lines)
	}
	if info, err := b.stream(t).Info(t.Context()); err != nil || info.State.Consumers != 0 {
		t.Errorf("consumers are left: %+v, %v", info, err)
	}
}
