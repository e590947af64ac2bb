package web

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// apply does what the page's script does with an update.
func (c cells) apply(t *rapid.T, u cellsUpdate) cells {
	if u.Whole {
		c.letters = ""
	}
	for _, r := range u.Runs {
		var letters strings.Builder
		for i := 0; i < len(r.Cells); {
			digits := i + 1
			for digits < len(r.Cells) && r.Cells[digits] >= '0' && r.Cells[digits] <= '9' {
				digits++
			}
			n := 1
			if digits > i+1 {
				var err error
				if n, err = strconv.Atoi(r.Cells[i+1 : digits]); err != nil {
					t.Fatalf("%q: %v", r.Cells, err)
				}
			}
			letters.WriteString(strings.Repeat(r.Cells[i:i+1], n))
			i = digits
		}
		if r.At > len(c.letters) {
			t.Fatalf("a run begins at %d of %d cells", r.At, len(c.letters))
		}
		c.letters = c.letters[:r.At] + letters.String() + c.letters[min(len(c.letters), r.At+letters.Len()):]
	}
	return cells{u.Width, u.Planned, c.letters}
}

// What is sent makes the new map of the old one, whatever the two are.
func TestCellsSince(t *testing.T) {
	t.Parallel()
	letters := rapid.StringOfN(rapid.RuneFrom([]rune("drwqxjltu")), 0, 300, -1)
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) cells {
			return cells{rapid.Uint64Range(1, 2).Draw(t, name+" width"), rapid.Uint64Range(0, 5).Draw(t, name+" planned"), letters.Draw(t, name)}
		}
		before, now := draw("before"), draw("now")
		u, differ := now.since(before)
		got := before
		if differ {
			got = before.apply(t, u)
		}
		if got != now {
			t.Fatalf("%v and %v made %v", before, u, got)
		}
		if got := (cells{}).apply(t, now.whole()); got != now {
			t.Fatalf("the whole of %v made %v", now, got)
		}
	})
}

// The map of 10,000 chunks is small, and what a second changes in it smaller.
func TestCellsSize(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // not a secret
	size := func(now, before string) int {
		u, _ := cells{1, 10_000, now}.since(cells{1, 10_000, before})
		text, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		return len(text)
	}
	var worst strings.Builder
	for range 10_000 {
		worst.WriteByte("drwqxjltu"[random.IntN(9)])
	}
	if n := size(worst.String(), ""); n > 11_000 {
		t.Errorf("a map of 10,000 chunks takes %d bytes at worst", n)
	}
	queued := strings.Repeat("q", 10_000)
	half := strings.Repeat("l", 5_000) + "qqwqw" + queued[5_005:]
	if n := size(half, queued); n > 150 {
		t.Errorf("5,000 chunks that were loaded in order take %d bytes", n)
	}
	scattered := []byte(half)
	for range 500 { // all over the map
		scattered[random.IntN(10_000)] = 'd'
	}
	if n := size(string(scattered), half); n > 16_000 {
		t.Errorf("500 chunks of all over the map take %d bytes", n)
	}
}
