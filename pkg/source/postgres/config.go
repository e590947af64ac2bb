package postgres

import (
	"errors"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
)

// Config is the block source.postgres of a pipeline.
//
// URL is postgres://user:password@host:port/database?sslmode=…; what it leaves out
// is taken from PGPASSWORD, .pgpass and the like. Table, which may be a
// materialized view, is schema.table, and in double quotes what has capital
// letters. Key is by default its primary key.
type Config keyed.Config

// Validate reports every mistake that can be seen without a server, as
// source.FieldErrors, or nil. It never repeats the URL.
func (c Config) Validate() error {
	var all source.FieldErrors
	bad := all.Bad
	const urlHint = "write postgres://user:${env:PASSWORD}@host:5432/database; in a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25"
	switch {
	case c.URL == "":
		bad("url", urlHint, "is missing")
	case !strings.HasPrefix(c.URL, "postgres://") && !strings.HasPrefix(c.URL, "postgresql://"):
		bad("url", urlHint, "does not begin with postgres://")
	default:
		if _, err := server(keyed.Config(c)); errors.As(err, new(*job.RefusedError)) {
			bad("url", "", "%v", err)
		} else if err != nil {
			// The error may hold the password.
			bad("url", urlHint, "is not an address of PostgreSQL, or names a file that can not be read")
		}
	}
	keyed.Config(c).Check(bad, "write schema.table", source.SameName)
	for _, text := range []struct{ field, value string }{
		{"table", c.Table}, {"query", c.Query}, {"where", c.Where}, {"key", strings.Join(c.Key, "")},
	} {
		if strings.ContainsRune(text.value, 0) {
			bad(text.field, "", "has a zero byte, which no text of PostgreSQL has")
		}
	}
	return all.Err()
}

// New returns the source that cfg describes. It asks nobody; a cfg that does not
// validate is a source.FieldErrors, marked job.Permanent.
func New(cfg Config) (*keyed.Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	return keyed.New(keyed.Config(cfg), keyed.Server{
		Connect: connect, Same: source.SameName, Manners: true,
		Missing: "there is no such table in the database, or on the search path of the user: write schema.table, with capital letters in double quotes",
	})
}
