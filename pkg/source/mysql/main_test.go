package mysql

import (
	"context"
	"os"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/keyed/keyedtest"
	"drayage/pkg/testkit/mysqltest"
)

// The real engine and server that all tests of the package share.
var (
	eng *engine.Client
	db  *mysqltest.Server
)

// database is for the tests of package keyedtest.
var database = keyedtest.Database{
	Make:   func(cfg keyed.Config) (*keyed.Source, error) { return New(Config(cfg)) },
	Server: func() keyedtest.Server { return db },
	Admin:  "root",
	Quote:  identifier,
}

func TestMain(m *testing.M) {
	start := func(ctx context.Context) (*mysqltest.Server, error) { return mysqltest.Start(ctx) }
	os.Exit(keyedtest.Main(m, "mysql-test", start, &eng, &db))
}

func exec(t *testing.T, statements string) string {
	t.Helper()
	return database.Exec(t, statements)
}

func mustNew(t *testing.T, cfg Config) *keyed.Source {
	t.Helper()
	return database.New(t, keyed.Config(cfg))
}
