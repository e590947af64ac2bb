package keyedtest

import (
	"encoding/json"
	"strconv"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/sourcetest"
)

// Suited is a source of the columns id and name of all rows, or of the Odd ones.
type Suited struct {
	keyed.Config
	Chunks     int
	Odd, Uncut bool
}

// Suite runs sourcetest over tables of columns id, the squares from 1 on, and
// name. user reads them, with a password that may not be told; rows asks for a JSON
// of all rows, and left for how many connections the cases have left.
func Suite(t *testing.T, d Database, eng *engine.Client, user, rows, left string, cases map[string]Suited) {
	var decoded []json.RawMessage
	if err := json.Unmarshal([]byte(d.Exec(t, rows)), &decoded); err != nil {
		t.Fatal(err)
	}
	var all, odd []string
	for i, r := range decoded {
		all = append(all, string(r))
		if i%2 == 0 { // the square of an odd number
			odd = append(odd, string(r))
		}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.URL = d.Server().URL(user, SuitePassword)
			c.Columns = []job.Column{{Name: "id", Type: "Int64"}, {Name: "name", Type: "String"}}
			run := sourcetest.Case{Engine: eng, Secrets: []string{SuitePassword}, Want: all, Chunks: c.Chunks, Uncut: c.Uncut}
			if c.Odd {
				run.Want = odd
			}
			run.New = func() (source.Source, error) { return d.Make(c.Config) }
			sourcetest.Run(t, run)
		})
	}
	if n := d.Exec(t, left); n != "0" {
		t.Errorf("%s connections are left", n)
	}
}

// SuitePassword is that of the user of Suite.
const SuitePassword = "hunter2secret"

// Seats tests that the server never sees more connections than there are seats,
// however chunks end, and that each seat comes back. cfg reads a table of 4,000
// rows of 1,000 letters; open asks how many connections there are.
func Seats(t *testing.T, d Database, cfg keyed.Config, open string) {
	seats, taken := sourcetest.Bench(2)
	cfg.Rows, cfg.Seats = 1000, seats
	s := d.New(t, cfg)
	if s.Size(t.Context()) < 4_000_000 {
		t.Error("the table has no size")
	}
	sourcetest.Seated(t, s, taken, func() (int, error) {
		n, err := d.Server().Exec(t.Context(), open)
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(n)
	})
}
