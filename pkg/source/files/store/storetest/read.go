package storetest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
)

// digits is a content of n bytes, each of whose parts says where it is.
func digits(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%07d\n", i)
	}
	return b.String()[:n]
}

// bytesOf reads a range to its end, and closes it.
func (s *suite) bytesOf(t *testing.T, o store.Object, start, end int64) (string, error) {
	t.Helper()
	r, err := s.store.Read(t.Context(), o, start, end)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	if closed := r.Close(); closed != nil {
		t.Errorf("closing what was read: %v", closed)
	}
	return string(data), err
}

// holds checks a range.
func (s *suite) holds(t *testing.T, o store.Object, start, end int64, want string) {
	t.Helper()
	got, err := s.bytesOf(t, o, start, end)
	if err != nil {
		t.Errorf("%s [%d,%d): %v", o.Key, start, end, err)
	} else if got != want {
		t.Errorf("%s [%d,%d) gives %d bytes %.40q, not %d bytes %.40q", o.Key, start, end, len(got), got, len(want), want)
	}
}

// stat: what an object is, or that there is none.
func stat(t *testing.T, s *suite) {
	for _, size := range []int{0, 1, 5000} {
		o := s.made(t, fmt.Sprint("size", size), digits(size))
		if o.Size != int64(size) || o.Version == "" || o.Key != s.prefix+fmt.Sprint("size", size) {
			t.Errorf("an object of %d bytes is %+v", size, o)
		}
		again, err := s.store.Stat(t.Context(), o.Key)
		if err != nil || again.Version != o.Version {
			t.Errorf("the version is %q and then %q: %v", o.Version, again.Version, err)
		}
	}
	s.put(t, "dir/file", "x")
	for _, key := range []string{s.prefix + "none", s.prefix + "size", s.prefix + "dir"} {
		_, err := s.store.Stat(t.Context(), key)
		s.fails(t, "Stat of what is not there", err, key, store.ErrNotFound, job.Permanent)
	}
	old := s.made(t, "changes", "old")
	if now := s.made(t, "changes", "new"); now.Version == old.Version {
		t.Errorf("another content has the same version %q", now.Version)
	}
}

// read: the bytes of a range, and no others.
func read(t *testing.T, s *suite) {
	const size = 300_000
	text := digits(size)
	o := s.made(t, "digits", text)
	s.holds(t, o, 0, size, text)
	if !o.Whole {
		for _, r := range [][2]int64{{0, 1}, {0, 10}, {5, 6}, {7, 100_007}, {size - 1, size}, {size - 10, size}, {1, size}} {
			s.holds(t, o, r[0], r[1], text[r[0]:r[1]])
		}
		s.holds(t, o, 10, 10, "")
	}
	s.holds(t, s.made(t, "empty", ""), 0, 0, "")

	// Reading may end early.
	r, err := s.store.Read(t.Context(), o, 0, size)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("closing what was not read to its end: %v", err)
	}
}

// readOdd: a key is a key, whatever is in it.
func readOdd(t *testing.T, s *suite) {
	for _, odd := range OddKeys {
		if !s.names(odd) {
			continue
		}
		o := s.made(t, odd, "it is "+odd)
		if o.Key != s.prefix+odd {
			t.Errorf("the object %q calls itself %q", s.prefix+odd, o.Key)
		}
		s.holds(t, o, 0, o.Size, "it is "+odd)
	}
}

// readAsStored: nobody unpacks on the way what is stored with an encoding.
func readAsStored(t *testing.T, s *suite) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := io.WriteString(z, digits(4000))
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	key := s.prefix + "digits.gz"
	s.Put(t, Stored{Key: key, Data: packed.Bytes(), Encoding: "gzip"})
	o, err := s.store.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if o.Size != int64(packed.Len()) {
		t.Errorf("the size is %d, not the %d bytes that are stored", o.Size, packed.Len())
	}
	s.holds(t, o, 0, int64(packed.Len()), packed.String())
	if !o.Whole {
		s.holds(t, o, 10, 20, packed.String()[10:20])
	}
}

// readChanged: another version is never read in place of the one that was
// planned.
func readChanged(t *testing.T, s *suite) {
	o := s.made(t, "changes", digits(1000))
	empty := s.made(t, "grows", "")
	s.put(t, "changes", strings.ToUpper(strings.Repeat("x", 1000)))
	s.put(t, "grows", "x")
	_, err := s.bytesOf(t, o, 0, 1000)
	s.fails(t, "reading another version", err, o.Key, store.ErrChanged, job.Permanent)
	if !o.Whole {
		_, err = s.bytesOf(t, o, 10, 20)
		s.fails(t, "reading a range of another version", err, o.Key, store.ErrChanged, job.Permanent)
	}
	_, err = s.bytesOf(t, empty, 0, 0)
	s.fails(t, "reading what was empty", err, empty.Key, store.ErrChanged, job.Permanent)

	// It may also be removed, and come again.
	s.Delete(t, o.Key)
	s.put(t, "changes", strings.Repeat("y", 1000))
	_, err = s.bytesOf(t, o, 0, 1000)
	s.fails(t, "reading what was made anew", err, o.Key, store.ErrChanged, job.Permanent)

	// Or become shorter than the range.
	o = s.made(t, "shrinks", digits(1000))
	s.put(t, "shrinks", "short")
	_, err = s.bytesOf(t, o, 0, 1000)
	s.fails(t, "reading what became shorter", err, o.Key, store.ErrChanged, job.Permanent)
	if !o.Whole {
		_, err = s.bytesOf(t, o, 900, 1000)
		s.fails(t, "reading behind the end of another version", err, o.Key, store.ErrChanged, job.Permanent)
	}
}

// readGone: what is not there any more.
func readGone(t *testing.T, s *suite) {
	o, empty := s.made(t, "goes", "content"), s.made(t, "empty", "")
	for _, gone := range []store.Object{o, empty} {
		s.Delete(t, gone.Key)
		_, err := s.bytesOf(t, gone, 0, gone.Size)
		s.fails(t, "reading what was deleted", err, gone.Key, store.ErrNotFound, job.Permanent)
		_, err = s.store.Stat(t.Context(), gone.Key)
		s.fails(t, "Stat of what was deleted", err, gone.Key, store.ErrNotFound, job.Permanent)
	}
}

// readBroken: a connection that breaks is an error, and what came before it is
// right, so that one can read on where it broke.
func readBroken(t *testing.T, s *suite) {
	const size, cut = 400_000, 150_000
	text := digits(size)
	o := s.made(t, "digits", text)
	s.spoil(1, fault{cut: cut})
	got, err := s.bytesOf(t, o, 0, size)
	if err == nil {
		if got != text {
			t.Fatalf("%d other bytes came", len(got))
		}
		return // the store read on by itself
	}
	s.fails(t, "a connection that breaks", err, "", nil, job.Retry)
	if errors.Is(err, io.EOF) {
		t.Errorf("%q looks like the end", err)
	}
	if !strings.HasPrefix(text, got) {
		t.Fatal("other bytes came before it broke")
	}
	if at := int64(len(got)); !o.Whole {
		s.holds(t, o, at, size, text[at:])
		s.put(t, "digits", strings.ToLower(text[1:]+"x"))
		_, err = s.bytesOf(t, o, at, size)
		s.fails(t, "reading on in another version", err, o.Key, store.ErrChanged, job.Permanent)
	}
}

// readShort: an answer that is whole but has less than was asked for.
func readShort(t *testing.T, s *suite) {
	text := digits(1000)
	o := s.made(t, "digits", text)
	if o.Whole {
		t.Skip("the store reads no ranges")
	}
	s.spoil(1, fault{answer: fewer(text[100:150], 100, len(text), o.Version)})
	got, err := s.bytesOf(t, o, 100, 200)
	switch {
	case err == nil && got != text[100:200]:
		t.Errorf("less than the range came, and no error: %q", got)
	case err != nil:
		s.fails(t, "less than the range", err, "", nil, job.Retry)
		if !strings.HasPrefix(text[100:], got) {
			t.Errorf("other bytes came: %q", got)
		}
	}
	_, err = s.bytesOf(t, o, 990, 1010)
	if err == nil {
		t.Error("a range behind the end of the object is read without an error")
	}
}

// readMisplaced: a server that overlooks the range gives no bytes of another
// place.
func readMisplaced(t *testing.T, s *suite) {
	text := digits(1000)
	o := s.made(t, "digits", text)
	if o.Whole {
		t.Skip("the store reads no ranges")
	}
	s.spoil(-1, fault{answer: whole(text, o.Version)})
	if got, err := s.bytesOf(t, o, 100, 200); err == nil && got != text[100:200] {
		t.Errorf("bytes of another place came: %q", got)
	} else if err != nil && got != "" && !strings.HasPrefix(text[100:], got) {
		t.Errorf("bytes of another place came before %v: %q", err, got)
	}
}
