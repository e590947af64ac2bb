// Package keyed is what the sources of tables in a database share: how a plan
// walks a key in even ranges, and how a range is cut in two.
package keyed

import (
	"math"
	"slices"
	"strings"
)

// Bound is a key, a text for each of its columns that the source and the server
// understand. Nothing but the server compares two of them.
type Bound []string

// Range is what a chunk says about its input: the keys after From, up to and
// including To, or those of which a part is NULL. A source adds fields of its own.
type Range struct {
	Shape string   `json:"f"` // of the relation: what has changed has another
	Key   []string `json:"k,omitempty"`
	From  Bound    `json:"a,omitempty"` // nil: from the first
	To    Bound    `json:"z,omitempty"` // nil: to the last
	Null  bool     `json:"n,omitempty"`

	Bytes int64 `json:"s,omitempty"` // estimated
}

// Cursor is where planning goes on. What is settled when it begins stays.
type Cursor struct {
	Shape  string   `json:"f"`
	Key    []string `json:"k,omitempty"`
	Last   Bound    `json:"a,omitempty"` // planned up to here
	Max    Bound    `json:"z,omitempty"` // the largest key; nil: the end is open
	Per    int64    `json:"p,omitempty"` // rows of a chunk
	Mean   int64    `json:"s,omitempty"` // bytes of a row, estimated
	Ranges bool     `json:"r,omitempty"` // all ranges are planned
	Done   bool     `json:"d,omitempty"`
}

// Keys are the keys of a relation, as its server sees them now. A key that is too
// long for a Bound counts for none of its methods.
type Keys interface {
	// Step returns the key that is n keys, at least 1, after from and not after
	// to; nil when there are fewer.
	Step(from, to Bound, n int64) (Bound, error)
	// Count returns how many keys there are after from and not after to, at most
	// limit.
	Count(from, to Bound, limit int64) (int64, error)
	// Before returns the largest key after from and smaller than to, nil for none.
	Before(from, to Bound) (Bound, error)
	// SomeNull reports whether there is a row with a NULL in its key.
	SomeNull() (bool, error)
}

// Next plans the next range and moves the cursor behind it; nothing found ends
// the plan. With nulls, rows with a NULL in their key come last.
func (at *Cursor) Next(keys Keys, nulls bool) (r Range, found bool, err error) {
	r = Range{Shape: at.Shape, Key: at.Key}
	if at.Ranges {
		at.Done = true
		if nulls {
			r.Null, err = keys.SomeNull()
		}
		return r, r.Null, err
	}
	r.From, r.Bytes = at.Last, at.Per*at.Mean
	if r.To, err = keys.Step(at.Last, at.Max, at.Per); err != nil {
		return r, false, err
	}
	if r.To == nil {
		r.To, at.Ranges = at.Max, true
		left, err := keys.Count(r.From, r.To, at.Per)
		if err != nil {
			return r, false, err
		}
		r.Bytes = left * at.Mean
	}
	at.Last = r.To
	at.Ranges = at.Ranges || slices.Equal(r.To, at.Max)
	at.Done = at.Ranges && !nulls
	return r, true, nil
}

// Place is the range in a relation of some name, for people; show is a bound for
// them. Without a Key it is the name.
func (r Range) Place(name string, show func(Bound) string) string {
	if len(r.Key) == 0 {
		return name
	}
	key := strings.Join(r.Key, ", ")
	if r.Null {
		return name + ", rows with a NULL in " + key
	}
	at := name + ", " + key
	if r.From != nil {
		at += " after " + show(r.From)
	}
	if r.To != nil {
		at += " up to " + show(r.To)
	}
	return at
}

// Middle returns a key that cuts the range in two parts that both have keys; nil
// when there is none.
func (r Range) Middle(keys Keys) (Bound, error) {
	n, err := keys.Count(r.From, r.To, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	middle, err := keys.Step(r.From, r.To, max(n/2, 1))
	if err != nil || middle == nil {
		return nil, err
	}
	after, err := keys.Step(middle, r.To, 1)
	if err == nil && after == nil {
		// The second half is one key, which the first has as well.
		return keys.Before(r.From, middle)
	}
	return middle, err
}
