package mysql

import (
	"context"
	"os"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/keyed/keyedtest"
	"drayage/pkg/testkit/mysqltest"
)

// The real engine and server that all tests of the package share.
var (
	eng *engine.Client
	db  *mysqltest.Server
)

func TestMain(m *testing.M) {
	start := func(ctx context.Context) (*mysqltest.Server, error) { return mysqltest.Start(ctx) }
	os.Exit(keyedtest.Main(m, "mysql-test", start, &eng, &db))
}

func exec(t *testing.T, statements string) string {
	t.Helper()
	return keyedtest.Exec(t, db, statements)
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

// database is for the tests of package keyedtest.
var database = keyedtest.Database{
	New:   func(t *testing.T, cfg keyed.Config) source.Source { t.Helper(); return mustNew(t, Config(cfg)) },
	Exec:  exec,
	Quote: identifier,
}
