package files

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/store"
)

// shelf is a store of one object, whose answers break off now and then.
type shelf struct {
	data   []byte
	breaks func() bool
	held   chan struct{} // when it is set: closed at the first read, which then waits for its context
}

func (s *shelf) List(context.Context, string, string, func(store.Object) error) error { return nil }

func (s *shelf) Stat(context.Context, string) (store.Object, error) {
	return store.Object{Key: "k", Size: int64(len(s.data)), Version: "1"}, nil
}

func (s *shelf) Read(ctx context.Context, o store.Object, start, end int64) (io.ReadCloser, error) {
	if o.Version != "1" {
		return nil, job.Permanentf("k: %w", store.ErrChanged)
	}
	if end < 0 {
		end = int64(len(s.data))
	}
	r := io.Reader(bytes.NewReader(s.data[start:end]))
	switch {
	case s.held != nil:
		r = &holding{ctx, s.held}
	case s.breaks != nil && end > start && s.breaks():
		r = io.MultiReader(io.LimitReader(r, 1+(end-start)/2), &failing{errors.New("reset by peer")})
	}
	return io.NopCloser(r), nil
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

type holding struct {
	ctx  context.Context //nolint:containedctx // it is that of the read
	held chan struct{}
}

func (h *holding) Read([]byte) (int, error) {
	close(h.held)
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}

// Whatever is read in whatever order, with pauses and broken connections: the
// bytes are those of the object.
func TestObjectReadAt(t *testing.T) {
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, len(data)).Draw(t, "size")
		o := store.Object{Key: "k", Size: int64(n), Version: "1", Whole: rapid.Bool().Draw(t, "whole")}
		if o.Whole && rapid.Bool().Draw(t, "of unknown size") {
			o.Size = -1
		}
		broken := 0
		s := &shelf{data: data[:n], breaks: func() bool { broken++; return broken == 3 }}
		b := &object{ctx: context.Background(), cancel: func(error) {}, store: s, o: o, path: "k"}
		at := int64(0)
		for range rapid.IntRange(1, 12).Draw(t, "reads") {
			switch rapid.IntRange(0, 4).Draw(t, "move") {
			case 0:
				at = rapid.Int64Range(0, int64(n)+10).Draw(t, "at")
			case 1:
				at = max(0, at-rapid.Int64Range(0, 300_000).Draw(t, "back"))
			case 2:
				b.pause()
			}
			got := make([]byte, rapid.IntRange(1, 400_000).Draw(t, "length"))
			read, err := b.ReadAt(got, at)
			want := data[min(at, int64(n)):min(at+int64(len(got)), int64(n))]
			if short := len(want) < len(got); !bytes.Equal(got[:read], want) || short != errors.Is(err, io.EOF) || !short && err != nil {
				// Of an unknown size nothing is known behind the end.
				if o.Size >= 0 || at <= int64(n) {
					t.Fatalf("%d bytes at %d of %d: %d came, %v", len(got), at, n, read, err)
				}
			}
			at += int64(read)
		}
		if err := b.Close(); err != nil {
			t.Fatalf("%v", err)
		}
	})
}

// Closing ends a read that waits for the store.
func TestObjectClosed(t *testing.T) {
	s := &shelf{data: []byte("0123456789"), held: make(chan struct{})}
	b, _, err := (&remote{place: place{"s3", "b"}, store: s}).open(t.Context(), "s3://b/k", version{Size: 10, Tag: "1"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := b.ReadAt(make([]byte, 10), 0)
		ended <- err
	}()
	<-s.held
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, errClosed) {
			t.Error(err)
		}
	case <-time.After(3 * time.Second):
		t.Error("the read goes on")
	}
}

// What chunks of files of this machine say is what it was before there were
// stores: jobs that were planned then go on.
func TestChunksOfBefore(t *testing.T) {
	columns := cols("n", "Int64")
	dir := write(t, map[string]string{"a.csv": "1\n2\n"})
	at := time.Unix(1_700_000_000, 5)
	if err := os.Chtimes(filepath.Join(dir, "a.csv"), at, at); err != nil {
		t.Fatal(err)
	}
	s := mustNew(t, Config{Paths: []string{"*.csv"}, Dir: dir, Columns: columns, Header: no()})
	chunks, err := plan(s, nil, columns)
	if err != nil || len(chunks) != 1 {
		t.Fatalf("%d chunks: %v", len(chunks), err)
	}
	const input = `{"p":"a.csv","s":4,"t":1700000000000000005,"z":4,"h":1}`
	if got := string(chunks[0].Input); got != input {
		t.Errorf("a chunk says %s, and said %s", got, input)
	}
	const cursor = `{"g":0,"p":"a.csv","s":4,"t":1700000000000000005,"at":{"o":4},"d":true,"h":1,"n":1}`
	if got := string(chunks[0].Cursor); got != cursor {
		t.Errorf("a cursor is %s, and was %s", got, cursor)
	}
	if rows, err := readChunk(t, s, source.Planned{Input: []byte(strings.ReplaceAll(input, " ", ""))}, columns); err != nil || rows != "[\"1\"]\n[\"2\"]\n" && rows != "[1]\n[2]\n" {
		t.Errorf("%q: %v", rows, err)
	}
}
