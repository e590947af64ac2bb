package mysql

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/testkit"
	"drayage/pkg/testkit/mysqltest"
)

// The real engine and server that all tests of the package share.
var (
	eng *engine.Client
	db  *mysqltest.Server
)

func TestMain(m *testing.M) {
	testkit.Engine()
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx := context.Background()
	// Each check asks a real server many times. The command line outranks this.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	p, err := engine.Start(ctx, engine.Config{Name: "mysql-test"})
	if err != nil {
		fail(err)
		return code
	}
	defer func() {
		_, err := p.Close()
		fail(err)
	}()
	eng = p.Client()
	if db, err = mysqltest.Start(ctx); err != nil {
		fail(err)
		return code
	}
	defer func() { fail(db.Close()) }()
	return m.Run()
}

func exec(t *testing.T, sql string) string {
	t.Helper()
	value, err := db.Exec(t.Context(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func mustNew(t *testing.T, cfg Config) *Source {
	t.Helper()
	if cfg.URL == "" {
		cfg.URL = db.URL("root", "")
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
