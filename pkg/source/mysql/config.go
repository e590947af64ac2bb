package mysql

import (
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
)

// Config is the block source.mysql of a pipeline.
//
// URL is mysql://user:password@host:3306/database, with ?tls=true, skip-verify,
// preferred (the default) or false, ?ca=/path of the certificates that are trusted,
// for tls=true, in place of the system's, and ?socket=/path for a socket in place
// of host and port. Table is table or database.table, and in backquotes what is no
// plain name. Key are of a table the first columns of an index; empty: its primary
// key, or else a unique index without NULLs.
type Config keyed.Config

// Validate reports every mistake that can be seen without a server, as
// source.FieldErrors, or nil. It never repeats the URL.
func (c Config) Validate() error {
	var all source.FieldErrors
	bad := all.Bad
	if c.URL == "" {
		bad("url", urlHint, "is missing")
	} else if _, err := parseURL(c.URL, c.Allow); err != nil {
		bad("url", urlHint, "%s", err)
	}
	keyed.Config(c).Check(bad, "write database.table", strings.EqualFold)
	if c.Table != "" && len(c.Table) <= keyed.MaxTable {
		if _, err := parseTable(c.Table); err != nil {
			bad("table", "write table or database.table, and other names in `backquotes`", "%s", err)
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
		Connect: connect, Same: strings.EqualFold,
		Missing: "there is no such table in the database: write database.table, in the case that the server wants",
	})
}
