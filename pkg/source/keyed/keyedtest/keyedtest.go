// Package keyedtest is what the sources of tables in a database have to pass
// beside sourcetest: each function is a test, of which a package says in SQL how
// its tables are made.
package keyedtest

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/source/keyed"
	"drayage/pkg/testkit"
)

// Server is a real server.
type Server interface {
	io.Closer
	// URL is its address for a user.
	URL(name, password string) string
	// Exec runs statements; value is the first of the last of them.
	Exec(ctx context.Context, statements string) (value string, err error)
}

// Database is a server, and the source that reads it.
type Database struct {
	// Make is New of the package.
	Make func(cfg keyed.Config) (*keyed.Source, error)
	// Server is the server that runs, where Admin may do all.
	Server func() Server
	Admin  string
	// Quote writes a name in SQL.
	Quote func(name string) string
}

// New makes a source; without a URL, of the server by Admin.
func (d Database) New(t *testing.T, cfg keyed.Config) *keyed.Source {
	t.Helper()
	if cfg.URL == "" {
		cfg.URL = d.Server().URL(d.Admin, "")
	}
	s, err := d.Make(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Exec runs statements at the server; an error ends the test.
func (d Database) Exec(t *testing.T, statements string) string {
	t.Helper()
	value, err := d.Server().Exec(t.Context(), statements)
	if err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
	return value
}

// Main runs the tests of a package beside a real engine and a server, which it
// keeps in eng and db. It returns what the process is to exit with.
func Main[S Server](m *testing.M, name string, start func(context.Context) (S, error), eng **engine.Client, db *S) (code int) {
	testkit.Engine()
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	// Each check asks a real server many times. The command line outranks this.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		fail(err)
		return code
	}
	p, err := engine.Start(ctx, engine.Config{Name: name})
	if err != nil {
		fail(err)
		return code
	}
	defer func() {
		_, err := p.Close()
		fail(err)
	}()
	*eng = p.Client()
	if *db, err = start(ctx); err != nil {
		fail(err)
		return code
	}
	defer func() { fail((*db).Close()) }()
	return m.Run()
}
