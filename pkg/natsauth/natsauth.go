// Package natsauth writes what a NATS needs to be safe for a fleet: an authority
// for TLS, a key or password for each role of package queue, and the part of the
// server's configuration that lets each role do its work and nothing else.
package natsauth

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"drayage/pkg/queue"
)

// Login is how those who connect say who they are.
type Login string

// The ways to log in.
const (
	NKey     Login = "nkey"     // a key pair each; the server knows the public keys
	JWT      Login = "jwt"      // credentials signed by an operator, which the server trusts
	Password Login = "password" // a name and a password each
)

// Config says what to make.
type Config struct {
	// Dir is where the files go. It is made, with 0700.
	Dir string
	// Login is how roles log in. Default NKey.
	Login Login
	// Hosts are the names and addresses under which clients reach the server.
	// Default localhost, 127.0.0.1 and ::1.
	Hosts []string
	// ServerDir is Dir as the server will see it. Default the absolute path of
	// Dir.
	ServerDir string
	// Valid is how long the server's certificate is, 1h to ten years. Default a
	// year. The authority's own is valid for ten.
	Valid time.Duration
}

// ErrExists: there are files of this package already, which Create never
// replaces.
var ErrExists = errors.New("exists already")

const (
	year        = 365 * 24 * time.Hour
	authorityOf = 10 * year
)

// The files of Dir that are not of a role. What is in the folder of the authority
// is needed to make more, and by no server.
const (
	fileCA         = "ca.pem"
	fileServerCert = "server.pem"
	fileServerKey  = "server.key"
	fileConf       = "nats-auth.conf"
	fileCAKey      = "authority/ca.key"
	fileState      = "authority/state.json"
)

// Create makes everything, in a folder that has nothing of it. ErrExists when it
// has.
func Create(cfg Config) (*Files, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	f := &Files{dir: cfg.Dir, state: state{Login: cfg.Login, Hosts: cfg.Hosts, ServerDir: cfg.ServerDir}}
	for _, name := range append([]string{fileCA, fileCAKey, fileServerCert, fileServerKey, fileConf, fileState}, f.secretNames()...) {
		if exists(filepath.Join(cfg.Dir, name)) {
			return nil, fmt.Errorf("%s: %w: what is there is in use, perhaps; take another folder, or make one role's key anew with --rotate", filepath.Join(cfg.Dir, name), ErrExists)
		}
	}
	if err := f.makeFolders(); err != nil {
		return nil, err
	}
	if err := f.makeAuthority(); err != nil {
		return nil, err
	}
	if err := f.certify(cfg.Valid); err != nil {
		return nil, err
	}
	if err := f.makeAccounts(); err != nil {
		return nil, err
	}
	for _, role := range queue.Roles() {
		if err := f.enrol(role); err != nil {
			return nil, err
		}
	}
	return f, f.save()
}

// Rotate makes a new key or password for one role and lets the old one in no
// more, unless keepOld: then the role has both until Retire. The others keep
// theirs. The server has to be told to read its configuration again.
func Rotate(dir string, role queue.Role, keepOld bool) (*Files, error) {
	f, err := open(dir)
	if err != nil {
		return nil, err
	}
	if keepOld && f.state.Login == Password {
		return nil, errors.New("a name has one password: with --login password an old one can not be kept")
	}
	before := f.state.Users[role]
	if err := f.enrol(role); err != nil {
		return nil, err
	}
	if !keepOld {
		f.retire(role, before)
	}
	return f, f.save()
}

// Retire lets in no key of the role but the newest.
func Retire(dir string, role queue.Role) (*Files, error) {
	f, err := open(dir)
	if err != nil {
		return nil, err
	}
	if users := f.state.Users[role]; len(users) > 0 {
		f.retire(role, slices.Clone(users[:len(users)-1]))
	}
	return f, f.save()
}

// Renew makes a new certificate for the server, by the same authority, so that
// clients need nothing new. No hosts: those of the old one.
func Renew(dir string, hosts []string, valid time.Duration) (*Files, error) {
	f, err := open(dir)
	if err != nil {
		return nil, err
	}
	if len(hosts) > 0 {
		f.state.Hosts = hosts
	}
	cfg := Config{Dir: dir, Hosts: f.state.Hosts, Valid: valid}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if err := f.certify(cfg.Valid); err != nil {
		return nil, err
	}
	return f, f.save()
}

func (c *Config) complete() error {
	if c.Dir == "" {
		return errors.New("no folder is named")
	}
	if c.Login == "" {
		c.Login = NKey
	}
	if !slices.Contains([]Login{NKey, JWT, Password}, c.Login) {
		return fmt.Errorf("there is no login %q: nkey, jwt or password", c.Login)
	}
	if len(c.Hosts) == 0 {
		c.Hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	for _, h := range c.Hosts {
		if h == "" || strings.ContainsAny(h, " /\"") || strings.Contains(h, "://") {
			return fmt.Errorf("%q is no name and no address of a host", h)
		}
	}
	if c.ServerDir == "" {
		abs, err := filepath.Abs(c.Dir)
		if err != nil {
			return err
		}
		c.ServerDir = abs
	}
	if c.Valid == 0 {
		c.Valid = year
	}
	if c.Valid < time.Hour || c.Valid > authorityOf {
		return fmt.Errorf("a certificate that is valid for %v: must be between 1h and %v", c.Valid, authorityOf)
	}
	return nil
}
