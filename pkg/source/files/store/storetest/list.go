package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
)

// fill puts objects for more than two pages, and returns their keys in order.
func (s *suite) fill(t *testing.T) []string {
	t.Helper()
	var keys []string
	for i := range 2*s.Page + 2 {
		name := fmt.Sprintf("in/%03d", i)
		keys = append(keys, s.put(t, name, strings.Repeat("x", i)))
	}
	// "in-" and "in." come before "in/" in the order of bytes, "inn" after it.
	for _, name := range []string{"in-side", "in.csv", "in/000/deep", "inn", "IN/upper"} {
		keys = append(keys, s.put(t, name, name))
	}
	slices.SortFunc(keys, s.Compare)
	return keys
}

func (s *suite) below(keys []string, prefix, after string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(k string) bool {
		return !strings.HasPrefix(k, prefix) || after != "" && s.Compare(k, after) <= 0
	})
}

func keysOf(all []store.Object) []string {
	var keys []string
	for _, o := range all {
		keys = append(keys, o.Key)
	}
	return keys
}

// wants lists, and compares.
func (s *suite) wants(t *testing.T, prefix, after string, want []string) []store.Object {
	t.Helper()
	all, err := s.listed(t.Context(), prefix, after)
	if err != nil {
		t.Fatalf("List(%q, %q): %v", prefix, after, err)
	}
	if got := keysOf(all); !slices.Equal(got, want) {
		t.Fatalf("List(%q, %q) gives\n%q, not\n%q", prefix, after, got, want)
	}
	return all
}

// list: every object below a prefix once, in order, as Stat knows it.
func list(t *testing.T, s *suite) {
	if s.Page == 0 {
		_, err := s.listed(t.Context(), s.prefix, "")
		s.fails(t, "listing a store that can not", err, "", nil, job.Permanent)
		return
	}
	keys := s.fill(t)
	for _, prefix := range []string{"", "in", "in/", "in/00", "in/000", "in-", "inn", "IN"} {
		s.wants(t, s.prefix+prefix, "", s.below(keys, s.prefix+prefix, ""))
	}
	s.wants(t, s.prefix+"none/", "", nil)
	for i, o := range s.wants(t, s.prefix+"in/", "", s.below(keys, s.prefix+"in/", "")) {
		if i%s.Page > 1 {
			continue // the ends of pages will do
		}
		now, err := s.store.Stat(t.Context(), o.Key)
		switch {
		case err != nil:
			t.Errorf("Stat of what was listed: %v", err)
		case now.Size != o.Size || now.Version != o.Version || o.Version == "":
			t.Errorf("%s is listed with %d bytes, version %q; Stat says %d bytes, version %q", o.Key, o.Size, o.Version, now.Size, now.Version)
		}
	}
}

// listAfter: a listing goes on anywhere.
func listAfter(t *testing.T, s *suite) {
	s.lists(t)
	keys := s.fill(t)
	for _, prefix := range []string{s.prefix, s.prefix + "in/"} {
		for _, after := range keys {
			s.wants(t, prefix, after, s.below(keys, prefix, after))
		}
		// Keys that are not there: between two, at an end, before and behind.
		for _, after := range []string{s.prefix + "in/0015", s.prefix + "in/zzz", s.prefix + "in", "a", "zzz", s.prefix + "in/000\x01"} {
			s.wants(t, prefix, after, s.below(keys, prefix, after))
		}
	}
}

// listOdd: names are listed as they were put.
func listOdd(t *testing.T, s *suite) {
	s.lists(t)
	var keys []string
	for _, odd := range OddKeys {
		if s.names(odd) {
			keys = append(keys, s.put(t, odd, odd))
		}
	}
	slices.SortFunc(keys, s.Compare)
	s.wants(t, s.prefix, "", keys)
	for _, key := range keys {
		s.wants(t, s.prefix, key, s.below(keys, s.prefix, key))
		s.wants(t, key, "", s.below(keys, key, ""))
	}
}

// listStops: what yield says ends the listing, which reads no further.
func listStops(t *testing.T, s *suite) {
	s.lists(t)
	s.fill(t)
	for _, at := range []int{1, s.Page} {
		stop, seen, before := errors.New("stop"), 0, s.count()
		err := s.store.List(t.Context(), s.prefix, "", func(store.Object) error {
			if seen++; seen == at {
				return stop
			}
			return nil
		})
		if err != stop { //nolint:errorlint // as it is
			t.Errorf("List returns %v, not yield's own error", err)
		}
		if seen != at {
			t.Errorf("after an error at object %d, yield was called %d times", at, seen)
		}
		if pages := s.count() - before; pages > 1 {
			t.Errorf("%d requests were made for %d objects of the first page of %d", pages, at, s.Page)
		}
	}
}

// listFails: a page that does not come is not the end of the listing.
func listFails(t *testing.T, s *suite) {
	s.lists(t)
	keys := s.fill(t)
	var seen []string
	err := s.store.List(t.Context(), s.prefix, "", func(o store.Object) error {
		if seen = append(seen, o.Key); len(seen) == 1 {
			s.spoil(-1, fault{answer: status(500)})
		}
		return nil
	})
	s.fails(t, "a listing whose second page fails", err, "", nil, job.Retry)
	if len(seen) > s.Page || !slices.Equal(seen, keys[:len(seen)]) {
		t.Errorf("the first page is %q", seen)
	}
	s.spoil(1, fault{cut: 20})
	if all, err := s.listed(t.Context(), s.prefix, ""); err == nil {
		s.wants(t, s.prefix, "", keysOf(all))
	} else {
		s.fails(t, "a page that breaks off", err, "", nil, job.Retry)
	}
}
