package clickhouse

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"
)

// Compression methods of Config.Compression.
const (
	CompressionAuto = "auto" // none when the server is on a loopback address, lz4 otherwise
	CompressionNone = "none"
	CompressionLZ4  = "lz4"
	CompressionZSTD = "zstd"
)

// Config says where ClickHouse is and how to talk to it. The zero value of a
// field that has a default means that default. No printed form of a Config
// shows the password.
type Config struct {
	// URL is http://user:password@host:8123/database, or https, or
	// clickhouse://user:password@host:9000/database for the native protocol,
	// with TLS as clickhouses:// or with ?secure=true (port 9440). It is
	// required. Parts that the fields below also name are overridden by them.
	URL string `envconfig:"DRAY_CLICKHOUSE_URL"`
	// Shards are URLs like it, of the servers of a sharded target, in their order.
	// User, password and the fields below are as for URL. The ledger and the
	// quarantine of all are kept at URL.
	Shards []string `envconfig:"DRAY_CLICKHOUSE_SHARDS"`
	// User defaults to the URL's, then to "default".
	User string `envconfig:"DRAY_CLICKHOUSE_USER"`
	// Password defaults to the URL's, then to none.
	Password string `envconfig:"DRAY_CLICKHOUSE_PASSWORD"`
	// PasswordFile holds the password; one trailing newline is dropped. It is
	// read by Open, and must not be given together with Password.
	PasswordFile string `envconfig:"DRAY_CLICKHOUSE_PASSWORD_FILE"`
	// Database is what a table name without a database means. It need not
	// exist yet. It defaults to the URL's, then to "default".
	Database string `envconfig:"DRAY_CLICKHOUSE_DATABASE"`
	// CAFile holds PEM certificates that are trusted in place of the
	// system's. It needs a URL with TLS.
	CAFile string `envconfig:"DRAY_CLICKHOUSE_CA_FILE"`
	// DialTimeout bounds one attempt to connect, TLS and greeting included.
	// Default 5s.
	DialTimeout time.Duration `envconfig:"DRAY_CLICKHOUSE_DIAL_TIMEOUT" default:"5s"`
	// ReadTimeout bounds the wait for the first byte of an answer, once a
	// request was sent. It must exceed the longest insert and the longest
	// verification. Default 10m.
	ReadTimeout time.Duration `envconfig:"DRAY_CLICKHOUSE_READ_TIMEOUT" default:"10m"`
	// MaxConns bounds the connections of a Client; callers beyond it wait for
	// as long as their context lets them. Default 16.
	MaxConns int `envconfig:"DRAY_CLICKHOUSE_MAX_CONNS" default:"16"`
	// Compression of what Load sends: auto, none, lz4 or zstd. Default auto.
	Compression string `envconfig:"DRAY_CLICKHOUSE_COMPRESSION" default:"auto"`
	// DedupWindow is how many inserts a target must remember by token: what
	// Create sets and CheckTarget demands. Below it, a late retry could load
	// a chunk twice. Default 10000.
	DedupWindow uint64 `envconfig:"DRAY_CLICKHOUSE_DEDUP_WINDOW" default:"10000"`
	// Dialer makes what connects; nil: net.Dialer itself.
	Dialer func(net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) `ignored:"true"`
}

// Defaults of Config.
const (
	defaultUser        = "default"
	defaultDatabase    = "default"
	defaultDialTimeout = 5 * time.Second
	defaultReadTimeout = 10 * time.Minute
	defaultMaxConns    = 16
	defaultDedupWindow = 10000
)

// FromEnv reads a Config from the environment. The names that other ClickHouse
// tools use (CLICKHOUSE_URL, or CLICKHOUSE_HOST and CLICKHOUSE_PORT, and
// CLICKHOUSE_USER, CLICKHOUSE_PASSWORD, CLICKHOUSE_DATABASE) fill in what the
// DRAY_CLICKHOUSE_* names leave open: credentials only when neither ours nor
// the URL has any, so that a user from one place never meets the password of
// another. Without a URL nothing is filled in: the caller may have a server of
// its own in mind. The result is not validated.
func FromEnv() (Config, error) {
	var c Config
	if err := envconfig.Process("", &c); err != nil {
		var bad *envconfig.ParseError
		if errors.As(err, &bad) { // its text repeats the value
			return Config{}, fmt.Errorf("environment variable %s: not a %s", bad.KeyName, bad.TypeName)
		}
		return Config{}, fmt.Errorf("reading the ClickHouse configuration: %w", err)
	}
	if c.URL == "" {
		c.URL = os.Getenv("CLICKHOUSE_URL")
	}
	if host := os.Getenv("CLICKHOUSE_HOST"); c.URL == "" && host != "" {
		port := os.Getenv("CLICKHOUSE_PORT")
		switch port {
		case "", "9000": // the native port, which other tools mean by default
			port = "8123"
		}
		c.URL = (&url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}).String()
	}
	if u, err := url.Parse(c.URL); err == nil && c.URL != "" {
		if c.User == "" && c.Password == "" && c.PasswordFile == "" && u.User == nil {
			c.User, c.Password = os.Getenv("CLICKHOUSE_USER"), os.Getenv("CLICKHOUSE_PASSWORD")
		}
		if c.Database == "" && strings.Trim(u.Path, "/") == "" {
			c.Database = os.Getenv("CLICKHOUSE_DATABASE")
		}
	}
	return c, nil
}

// Validate reports the first thing wrong with the configuration, by the name
// of its environment variable and without any secret. It reads no file and
// opens no connection.
func (c Config) Validate() error {
	if _, err := c.endpoint(); err != nil {
		return err
	}
	_, err := newShards(c)
	return err
}

// String returns the configuration without the password.
func (c Config) String() string {
	e, err := c.endpoint()
	if err != nil {
		return "clickhouse (invalid configuration)"
	}
	return fmt.Sprintf("%s user=%s database=%s max_conns=%d compression=%s", e.people(), e.user, e.database, e.maxConns, e.compression)
}

// GoString returns String, so that %#v keeps the password too.
func (c Config) GoString() string { return c.String() }

// MarshalText returns String, so that no encoder writes the password.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// LogValue returns String, so that no logger writes the password.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// endpoint is a checked Config with its defaults filled in.
type endpoint struct {
	name                   string // of the variable that holds the URL, for messages
	scheme, host           string // http, https, clickhouse or clickhouses; host with port
	user, password         string
	passwordFile, database string
	caFile                 string
	dial, read             time.Duration
	maxConns               int
	compression            string
	window                 uint64
	dialer                 func(net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error)
}

// dialing is what connects, with the settings of d.
func (e endpoint) dialing(d net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	if e.dialer == nil {
		return d.DialContext
	}
	return e.dialer(d)
}

// people is the address as it may be shown: without credentials.
func (e endpoint) people() string { return e.scheme + "://" + e.host }

// native reports whether the native protocol is spoken.
func (e endpoint) native() bool { return e.scheme == schemeNative || e.scheme == schemeNativeTLS }

// secure reports whether it is spoken within TLS.
func (e endpoint) secure() bool { return e.scheme == "https" || e.scheme == schemeNativeTLS }

// The schemes of the native protocol. What others call tcp:// or native:// is
// clickhouse://.
const (
	schemeNative    = "clickhouse"
	schemeNativeTLS = "clickhouses"
)

func (c Config) endpoint() (endpoint, error) { return c.endpointOf("DRAY_CLICKHOUSE_URL") }

// endpointOf is the endpoint of a URL that a variable of another name holds.
func (c Config) endpointOf(name string) (endpoint, error) {
	e := endpoint{
		name: name, user: c.User, password: c.Password, passwordFile: c.PasswordFile,
		database: c.Database, caFile: c.CAFile,
		dial: c.DialTimeout, read: c.ReadTimeout, maxConns: c.MaxConns,
		compression: strings.ToLower(c.Compression), window: c.DedupWindow, dialer: c.Dialer,
	}
	if err := e.readURL(c.URL); err != nil {
		return endpoint{}, err
	}
	if c.Password != "" && c.PasswordFile != "" {
		return endpoint{}, errors.New("DRAY_CLICKHOUSE_PASSWORD and DRAY_CLICKHOUSE_PASSWORD_FILE exclude each other: set one of them")
	}
	if e.caFile != "" && !e.secure() {
		return endpoint{}, errors.New("DRAY_CLICKHOUSE_CA_FILE needs a DRAY_CLICKHOUSE_URL with TLS: https:// or clickhouses://")
	}
	if e.dial < 0 || e.read < 0 || e.maxConns < 0 {
		return endpoint{}, errors.New("DRAY_CLICKHOUSE_DIAL_TIMEOUT, _READ_TIMEOUT and _MAX_CONNS must not be negative")
	}
	switch e.compression {
	case "", CompressionAuto:
		e.compression = CompressionLZ4
		if loopback(e.host) {
			e.compression = CompressionNone
		}
	case CompressionNone, CompressionLZ4, CompressionZSTD:
	default:
		return endpoint{}, fmt.Errorf("DRAY_CLICKHOUSE_COMPRESSION is %q: it must be auto, none, lz4 or zstd", c.Compression)
	}
	setDefault(&e.user, defaultUser)
	setDefault(&e.database, defaultDatabase)
	setDefault(&e.dial, defaultDialTimeout)
	setDefault(&e.read, defaultReadTimeout)
	setDefault(&e.maxConns, defaultMaxConns)
	setDefault(&e.window, defaultDedupWindow)
	return e, nil
}

// readURL fills in what the URL says. None of its errors repeats the URL,
// which may hold a password even when it can not be parsed.
func (e *endpoint) readURL(text string) error {
	const form = "it must look like http://user:password@host:8123/database or clickhouse://user:password@host:9000/database"
	if text == "" {
		return errors.New(e.name + " is not set: " + form)
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return errors.New(e.name + " is not a URL: " + form + " (special characters of the password as %XX)")
	}
	if strings.Contains(u.Host, ",") {
		return errors.New(e.name + " names several hosts: it must name one server, or what distributes connections")
	}
	if u.Fragment != "" {
		return errors.New(e.name + " has a part after #: write # in a password as %23")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New(e.name + " has parameters that can not be read: " + form)
	}
	for name := range query {
		switch name {
		case "user", "password", "database", "secure":
		default:
			return fmt.Errorf("%s has a parameter %q: only user, password, database and secure are understood", e.name, name)
		}
	}
	if e.scheme, err = schemeOf(u.Scheme, query); err != nil {
		return fmt.Errorf("%s %w: %s", e.name, err, form)
	}
	e.host = u.Host
	if u.Port() == "" {
		e.host = net.JoinHostPort(u.Hostname(), ports[e.scheme])
	}
	password, _ := u.User.Password()
	path := strings.Trim(u.Path, "/")
	if strings.Contains(path, "/") {
		return errors.New(e.name + " has more than a database after the host: " + form)
	}
	for _, p := range []struct {
		to   *string
		from [2]string
	}{
		{&e.user, [2]string{u.User.Username(), query.Get("user")}},
		{&e.password, [2]string{password, query.Get("password")}},
		{&e.database, [2]string{path, query.Get("database")}},
	} {
		if p.to == &e.password && e.passwordFile != "" {
			continue
		}
		setDefault(p.to, p.from[0])
		setDefault(p.to, p.from[1])
	}
	return nil
}

// ports are those that servers listen on where nobody said otherwise.
//
//nolint:gochecknoglobals // a constant table
var ports = map[string]string{"http": "8123", "https": "8443", schemeNative: "9000", schemeNativeTLS: "9440"}

// schemeOf is one of the four schemes, whatever others call it.
func schemeOf(scheme string, query url.Values) (string, error) {
	secure := false
	if query.Has("secure") {
		var err error
		if secure, err = strconv.ParseBool(query.Get("secure")); err != nil {
			return "", errors.New("has a parameter secure that is neither true nor false")
		}
	}
	switch scheme {
	case "http":
		if secure {
			return "", errors.New("asks for TLS with secure=true and has http://: write https://")
		}
		return scheme, nil
	case "https":
		return scheme, nil
	case schemeNative, "tcp", "native":
		if secure {
			return schemeNativeTLS, nil
		}
		return schemeNative, nil
	case schemeNativeTLS, "tcps":
		return schemeNativeTLS, nil
	}
	return "", errors.New("must start with http://, https://, clickhouse:// or clickhouses://")
}

// secrets reads the files that the configuration names.
func (e *endpoint) secrets() (*tls.Config, error) {
	if e.passwordFile != "" {
		text, err := os.ReadFile(e.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("reading DRAY_CLICKHOUSE_PASSWORD_FILE: %w", err)
		}
		e.password = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	}
	if !e.secure() {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.caFile != "" {
		pem, err := os.ReadFile(e.caFile)
		if err != nil {
			return nil, fmt.Errorf("reading DRAY_CLICKHOUSE_CA_FILE: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("DRAY_CLICKHOUSE_CA_FILE %s holds no PEM certificate", e.caFile)
		}
	}
	return conf, nil
}

// loopback reports whether host:port is on this machine by its name alone.
func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func setDefault[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}
