package keyed

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Name is what is read, for people.
func (c Config) Name() string {
	if c.Table != "" {
		return "table " + c.Table
	}
	return "the query"
}

// Gone is the error of a table that is not there any more.
func (c Config) Gone() error {
	return job.Permanentf("%s: %w: it was dropped or renamed after the job was planned", c.Name(), source.ErrGone)
}

// Changed is the error of columns that are not those of the plan.
func (c Config) Changed() error {
	return job.Permanentf("%s: %w: its columns have other names, types or NOT NULL than when the job was planned; start a new job",
		c.Name(), source.ErrChanged)
}

// Chosen are the columns to read: all, or those that were declared, which must be
// among has. Two names are the same by same.
func (c Config) Chosen(all []job.Column, has []string, same func(a, b string) bool) ([]job.Column, error) {
	if len(c.Columns) == 0 {
		return all, nil
	}
	return c.Columns, source.CheckDeclared(c.Name(), c.Columns, has, same)
}

// Ended is what source.Input.Check returns when reading has failed with err, nil
// where it goes on; only with io.EOF was the chunk read to its end.
func (c Config) Ended(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return job.Retryf("%s: the chunk was not read to its end", c.Name())
}

// Shape sums up the columns of a relation that are read: it is another when
// describe says something else of one of them, and ok is false when it does not
// know one.
func Shape(columns []job.Column, describe func(name string) (text string, ok bool)) (shape string, ok bool) {
	h := sha256.New()
	for _, want := range columns {
		text, ok := describe(want.Name)
		if !ok {
			return "", false
		}
		_, _ = io.WriteString(h, text+"\n") // to a hash: it does not fail
	}
	return hex.EncodeToString(h.Sum(nil)[:12]), true
}

// One is the row of an answer that must have one; err is how asking for it, which
// doing names, went.
func One[Row any](doing string, rows []Row, err error) (Row, error) {
	if err == nil && len(rows) != 1 {
		err = job.Retryf("%s: the server gave %d rows in place of one", doing, len(rows))
	}
	if err != nil {
		var none Row
		return none, err
	}
	return rows[0], nil
}
