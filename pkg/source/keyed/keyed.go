// Package keyed is what the sources of tables in a database share: how a plan
// walks a key in even ranges, how a range is cut in two, and what a job reads by a
// watermark. A package for a kind of server brings the SQL, as Server says.
package keyed

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bound is a key, a text for each of its columns that the source and the server
// understand. Nothing but the server compares two of them.
type Bound []string

// Range is what a chunk says about its input: the keys after From, up to and
// including To, or those of which a part is NULL; without a Key some blocks, or
// everything.
type Range struct {
	Shape string   `json:"f"` // of the relation: what has changed has another
	Key   []string `json:"k,omitempty"`
	From  Bound    `json:"a,omitempty"` // nil: from the first
	To    Bound    `json:"z,omitempty"` // nil: to the last
	Null  bool     `json:"n,omitempty"`

	Bytes      int64    `json:"s,omitempty"` // estimated
	Collations []string `json:"c,omitempty"` // of the columns of Key; nil where none has one
	Blocks
}

// Cursor is where planning goes on. What is settled when it begins stays.
type Cursor struct {
	Shape  string   `json:"f"`
	Key    []string `json:"k,omitempty"`
	Last   Bound    `json:"a,omitempty"` // planned up to here
	Max    Bound    `json:"z,omitempty"` // the largest key; nil: the end is open
	Per    int64    `json:"p,omitempty"` // rows, or blocks, of a chunk
	Mean   int64    `json:"s,omitempty"` // bytes of a row, or block, estimated
	Ranges bool     `json:"r,omitempty"` // all ranges are planned
	Done   bool     `json:"d,omitempty"`

	Collations []string `json:"c,omitempty"`
	Blocks              // that are not planned yet
}

// Manner is how a relation is cut, where its server has tables that are cut by
// blocks; "" where it has none.
type Manner string

// The manners.
const (
	ByKey    Manner = "k"
	ByBlocks Manner = "b"
	AsWhole  Manner = "w"
)

// Blocks are, ByBlocks, the blocks [Begin, End) of File.
type Blocks struct {
	Manner Manner `json:"m,omitempty"`
	Begin  int64  `json:"b,omitempty"`
	End    int64  `json:"e,omitempty"`
	File   string `json:"i,omitempty"`
}

// next plans the next range and moves the cursor behind it; nothing found ends
// the plan. With nulls, rows with a NULL in their key come last.
func (at *Cursor) next(k *Key, nulls bool) (r Range, found bool, err error) {
	r = Range{Shape: at.Shape, Key: at.Key, Collations: at.Collations, Blocks: at.Blocks}
	if at.Ranges {
		at.Done = true
		if nulls {
			r.Null, err = k.someNull()
		}
		return r, r.Null, err
	}
	r.From, r.Bytes = at.Last, at.Per*at.Mean
	if r.To, err = k.step(at.Last, at.Max, at.Per); err != nil {
		return r, false, err
	}
	if r.To == nil {
		r.To, at.Ranges = at.Max, true
		left, err := k.count(r.From, r.To, at.Per)
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

// keyless plans the next blocks, or everything, of a relation of some bytes.
func (at *Cursor) keyless(bytes int64) (r Range, found bool) {
	r = Range{Shape: at.Shape, Bytes: bytes, Blocks: at.Blocks}
	if at.Manner != ByBlocks {
		at.Done = true
		return r, true
	}
	r.End = min(at.Begin+at.Per, at.End)
	r.Bytes = (r.End - r.Begin) * at.Mean
	at.Begin = r.End
	at.Done = at.Begin >= at.End
	return r, r.End > r.Begin
}

// valid reports whether r may be what a chunk says, with a Manner or without.
func (r Range) valid(manners bool) bool {
	switch r.Manner {
	case "":
		return !manners && r.Shape != "" && (len(r.Key) > 0 || !r.Null && r.From == nil && r.To == nil)
	case ByKey:
		return manners && len(r.Key) > 0
	case ByBlocks:
		return manners && r.End > r.Begin
	case AsWhole:
		return manners
	}
	return false
}

// place is the range in a relation of some name, for people.
func (r Range) place(name string) string {
	if r.Manner == ByBlocks {
		return fmt.Sprintf("%s, blocks %d up to %d", name, r.Begin, r.End-1)
	}
	if len(r.Key) == 0 {
		return name
	}
	key := strings.Join(r.Key, ", ")
	if r.Null {
		return name + ", rows with a NULL in " + key
	}
	at := name + ", " + key
	if r.From != nil {
		at += " after " + r.shown(r.From)
	}
	if r.To != nil {
		at += " up to " + r.shown(r.To)
	}
	return at
}

// Binary is the collation of bytes.
const Binary = "binary"

// shown is a bound for people. What has a collation is in hexadecimals: texts that
// are readable stand as they are.
func (r Range) shown(b Bound) string {
	all := slices.Clone(b)
	for i, text := range b {
		if raw, err := hex.DecodeString(text); err == nil && i < len(r.Collations) && r.Collations[i] != "" {
			all[i] = "0x" + text
			if r.Collations[i] != Binary && utf8.Valid(raw) && !strings.ContainsFunc(string(raw), unicode.IsControl) {
				all[i] = strconv.Quote(string(raw))
			}
		}
	}
	return strings.Join(all, ", ")
}

// middle returns a key that cuts the range in two parts that both have keys; nil
// when there is none.
func (r Range) middle(k *Key) (Bound, error) {
	n, err := k.count(r.From, r.To, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	middle, err := k.step(r.From, r.To, max(n/2, 1))
	if err != nil || middle == nil {
		return nil, err
	}
	after, err := k.step(middle, r.To, 1)
	if err == nil && after == nil {
		// The second half is one key, which the first has as well.
		return k.before(r.From, middle)
	}
	return middle, err
}
