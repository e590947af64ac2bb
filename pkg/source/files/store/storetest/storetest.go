// Package storetest is the behaviour suite of stores: what every store.Store
// has to do for the files source to read its objects once and whole, whatever
// happens to the server and to the objects meanwhile.
//
//	func TestSuite(t *testing.T) {
//		storetest.Run(t, storetest.Case{
//			Server: server, // a real one, which the suite puts faults before
//			New:    func(t *testing.T, url string) store.Store { … },
//			Put:    func(t *testing.T, o storetest.Stored) { … },
//			Delete: func(t *testing.T, key string) { … },
//			Page:   5,
//		})
//	}
package storetest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
)

// Limits of the suite.
const (
	// Prompt is how long a call may take to end once its context has.
	Prompt = 3 * time.Second
	// Patience is how long a call may try again before it gives up.
	Patience = 30 * time.Second
)

// Stored is an object as it is put into the store.
type Stored struct {
	Key  string
	Data []byte
	// Encoding is its Content-Encoding, such as gzip; Data is as stored.
	Encoding string
}

// Case is a kind of store, and the server that it is tried with.
type Case struct {
	// Server is the real server, or a Proxy to it.
	Server http.Handler
	// New makes a store whose server is at url, such as http://127.0.0.1:1234;
	// each call gives one of the same configuration, as each process of a fleet
	// makes its own. All are of one bucket, which may hold other objects.
	New func(t *testing.T, url string) store.Store
	// Put puts an object into that bucket, in place of the one that had its
	// key; the new one is another version when its Data is other.
	Put func(t *testing.T, o Stored)
	// Delete removes an object.
	Delete func(t *testing.T, key string)
	// Page is how many objects a page of the listing has; a small number. 0:
	// the store can not list, which it is to say.
	Page int
	// Compare is the order of the listing, as slices.SortFunc takes it; nil: that of
	// the bytes of the keys.
	Compare func(a, b string) int
	// Unnamed are those of OddKeys that no object of this store can have.
	Unnamed []string
	// Secrets must appear in no error.
	Secrets []string
}

// OddKeys are names of objects that are easily read as something else.
var OddKeys = []string{
	"a b.csv", " begin and end ", "a%20b.csv", "100%", "a+b", "a=b&c=d", "a?b=c", "a#b", "a//b", "a/", "a;b,c", "a:b@c",
	"quote'\"`", "<tag>&amp;", "[x]{y}*", "back\\slash", "~tilde!$()", "ä/ü.csv", "日本語", "😀", "\uff5e", "e\u0301",
}

// Run tests a store, with a subtest for each promise.
func Run(t *testing.T, c Case) {
	t.Helper()
	if c.Compare == nil {
		c.Compare = strings.Compare
	}
	before := goleak.IgnoreCurrent()
	// The group ends when all have, so that none is at work when goroutines are
	// counted.
	t.Run("Promises", func(t *testing.T) {
		for _, test := range []struct {
			name string
			run  func(*testing.T, *suite)
		}{
			{"List", list},
			{"ListAfter", listAfter},
			{"ListOdd", listOdd},
			{"ListStops", listStops},
			{"ListFails", listFails},
			{"Stat", stat},
			{"Read", read},
			{"ReadOdd", readOdd},
			{"ReadAsStored", readAsStored},
			{"ReadChanged", readChanged},
			{"ReadGone", readGone},
			{"ReadBroken", readBroken},
			{"ReadShort", readShort},
			{"ReadMisplaced", readMisplaced},
			{"Answers", answers},
			{"Overcome", overcome},
			{"Cancelled", cancelled},
			{"Concurrent", concurrent},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				test.run(t, newSuite(t, c, test.name))
			})
		}
	})
	t.Run("Goroutines", func(t *testing.T) {
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
	})
}

// suite is one subtest, with objects and a way to the server of its own.
type suite struct {
	Case
	*faults
	store  store.Store
	prefix string // of the keys of its objects
}

func newSuite(t *testing.T, c Case, name string) *suite {
	t.Helper()
	s := &suite{Case: c, faults: &faults{to: c.Server, over: make(chan struct{})}, prefix: "storetest/" + name + "/"}
	server := httptest.NewServer(s.faults)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(s.over) })
	s.store = c.New(t, server.URL)
	return s
}

// put stores an object whose key is name below the prefix.
func (s *suite) put(t *testing.T, name, data string) (key string) {
	t.Helper()
	s.Put(t, Stored{Key: s.prefix + name, Data: []byte(data)})
	return s.prefix + name
}

// made puts an object and returns what the store says of it.
func (s *suite) made(t *testing.T, name, data string) store.Object {
	t.Helper()
	o, err := s.store.Stat(t.Context(), s.put(t, name, data))
	if err != nil {
		t.Fatalf("Stat of an object that was just put: %v", err)
	}
	return o
}

// names reports whether objects of this store can have a key.
func (s *suite) names(key string) bool { return !slices.Contains(s.Unnamed, key) }

// lists skips a test of a store that can not list.
func (s *suite) lists(t *testing.T) {
	t.Helper()
	if s.Page == 0 {
		t.Skip("the store can not list")
	}
}

// fails checks an error: its class, what it is, and that it names its subject
// and keeps secrets.
func (s *suite) fails(t *testing.T, what string, err error, names string, is error, classes ...job.Class) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: there is no error", what)
		return
	}
	if got := job.ClassOf(err); !slices.Contains(classes, got) {
		t.Errorf("%s: the class of %q is %s, which is none of %v", what, err, got, classes)
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("%s: %q is not %q", what, err, is)
	}
	if !strings.Contains(err.Error(), names) {
		t.Errorf("%s: %q does not name %q", what, err, names)
	}
	s.keeps(t, what, err)
}

// keeps checks that an error shows no secret.
func (s *suite) keeps(t *testing.T, what string, err error) {
	t.Helper()
	for _, secret := range s.Secrets {
		if secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error shows a secret", what)
		}
	}
}

// listed returns what List yields.
func (s *suite) listed(ctx context.Context, prefix, after string) ([]store.Object, error) {
	var all []store.Object
	err := s.store.List(ctx, prefix, after, func(o store.Object) error {
		all = append(all, o)
		return nil
	})
	return all, err
}
