package keyedtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/sourcetest"
)

// Password is for the addresses of the tests of mistakes, none of which may be told.
const Password = "hunter2@secret"

// secret is what is in Password however it is written.
const secret = "hunter2"

// Mistake is a configuration, and the error that it is at the server; none where
// Text is empty.
type Mistake struct {
	keyed.Config
	Class job.Class
	Text  string
}

// Mistakes tests that asking for the columns tells mistakes, and no password.
func Mistakes(t *testing.T, d Database, cases map[string]Mistake) {
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := d.New(t, tt.Config).Columns(t.Context(), nil)
			if tt.Text == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			sourcetest.WantError(t, err, tt.Class, tt.Text)
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the password is in %v", err)
			}
		})
	}
}

// Broken is a source of one chunk whose reading fails, later than in its first
// 100 bytes.
type Broken struct {
	keyed.Config
	Class job.Class
	Text  string             // in the error
	Then  func(t *testing.T) // breaks it, once reading has begun; nil: it breaks by itself
}

// BreaksOff tests that what fails in the middle of a chunk is an error, and never
// its end.
func BreaksOff(t *testing.T, d Database, cases map[string]Broken) {
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			s := d.New(t, tt.Config)
			in, err := s.Open(t.Context(), only(t, s), sourcetest.Columns(t, s))
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := in.Close(); err != nil {
					t.Error(err)
				}
			}()
			if _, err := io.ReadFull(in.Reader, make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			if in.Check() == nil {
				t.Error("a chunk that was not read to its end passes")
			}
			if tt.Then != nil {
				tt.Then(t)
			}
			n, err := io.Copy(io.Discard, in.Reader)
			if err == nil {
				t.Fatalf("after %d bytes it ends", n)
			}
			sourcetest.WantError(t, err, tt.Class, tt.Text)
			if again := in.Check(); !errors.Is(again, err) {
				t.Errorf("the check says %v", again)
			}
		})
	}
}

// only is the one chunk of a source.
func only(t *testing.T, s source.Source) []byte {
	t.Helper()
	chunks, err := sourcetest.Plan(t, s, nil, sourcetest.Columns(t, s))
	if err != nil || len(chunks) != 1 {
		t.Fatalf("%d chunks, %v", len(chunks), err)
	}
	return chunks[0].Input
}

// Altered is a table that is altered after a plan.
type Altered struct {
	Make         string // statements that make it; "": those of most cases
	Alter        string // statements
	keyed.Config        // of the table altered, where it names none
	Want         error  // of opening a chunk, and of planning on
	Replanned    bool   // planning on is possible all the same
}

// Alterations tests that a table that is not the one that was planned is not
// read. clean are statements that take away what the cases have made, and most
// those that make a table of 1,000 rows; own are the columns that are read.
func Alterations(t *testing.T, d Database, clean, most string, own []job.Column, cases map[string]Altered) {
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			if tt.Make == "" {
				tt.Make = most
			}
			d.Exec(t, clean+"; "+tt.Make)
			if tt.Query == "" && tt.Table == "" {
				tt.Table = "altered"
			}
			tt.Columns, tt.Rows = own, 600
			s := d.New(t, tt.Config)
			chunks, err := sourcetest.Plan(t, s, nil, own)
			if err != nil || len(chunks) == 0 {
				t.Fatalf("%d chunks, %v", len(chunks), err)
			}
			d.Exec(t, tt.Alter)
			_, err = sourcetest.Chunk(t, s, chunks[0].Input, own)
			if !errors.Is(err, tt.Want) || err != nil && job.ClassOf(err) != job.Permanent {
				t.Errorf("opening says %s: %v", job.ClassOf(err), err)
			}
			if tt.Want != nil && len(chunks) > 1 && !tt.Replanned {
				if _, err = sourcetest.Plan(t, s, chunks[0].Cursor, own); !errors.Is(err, tt.Want) {
					t.Errorf("planning on says %v", err)
				}
			}
		})
	}
}

// cancelled is how long a chunk may take to end that nobody wants.
const cancelled = 2 * time.Second

// Cancel tests that what is cancelled ends at once, here and in the server. late
// and never are queries of one chunk: late gives 100,000 bytes and then waits for
// a minute, never waits so before its first row. running asks the server how many
// of the two go on.
func Cancel(t *testing.T, d Database, late, never, running string) {
	slow, stuck := d.New(t, keyed.Config{Query: late}), d.New(t, keyed.Config{Query: never})
	inputs := map[source.Source][]byte{slow: only(t, slow), stuck: only(t, stuck)}
	for name, tt := range map[string]struct {
		s   source.Source
		end func(stop func(), in *source.Input) error // nil: nothing was read yet
	}{
		"context": {slow, func(stop func(), in *source.Input) error {
			stop()
			_, _ = io.Copy(io.Discard, in.Reader)
			return in.Close()
		}},
		"close": {slow, func(_ func(), in *source.Input) error { return in.Close() }},
		"while it waits": {slow, func(_ func(), in *source.Input) error {
			ended := make(chan struct{})
			go func() { defer close(ended); _, _ = io.Copy(io.Discard, in.Reader) }()
			err := in.Close()
			<-ended
			return err
		}},
		"before a row": {stuck, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			columns := sourcetest.Columns(t, tt.s)
			var begun time.Time
			if tt.end == nil {
				time.AfterFunc(100*time.Millisecond, func() { begun = time.Now(); stop() })
				if err := drain(ctx, tt.s, inputs[tt.s], columns); !errors.Is(err, context.Canceled) {
					t.Errorf("it ends with %v", err)
				}
			} else {
				in, err := tt.s.Open(ctx, inputs[tt.s], columns)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(in.Reader, make([]byte, 100_000)); err != nil {
					t.Fatal(err)
				}
				begun = time.Now()
				if err := tt.end(stop, in); err != nil {
					t.Error(err)
				}
			}
			if took := time.Since(begun); took > cancelled {
				t.Errorf("it took %s", took)
			}
			if n := d.Exec(t, running); n != "0" {
				t.Errorf("%s statements go on", n)
			}
		})
	}
}

// drain opens a chunk and reads it within ctx.
func drain(ctx context.Context, s source.Source, input []byte, columns []job.Column) error {
	in, err := s.Open(ctx, input, columns)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in.Reader)
	return errors.Join(err, in.Close())
}

// Mark tests that the first text of a chunk may begin with what looks like a byte
// order mark. query writes a SELECT of a text as v.
func Mark(t *testing.T, d Database, r sourcetest.Strict, query func(text string) string) {
	for _, text := range []string{"\ufeff", "\ufeff\ufeffx", "\\xEF\ufeff"} {
		rows, rejects := r.Read(t, d.New(t, keyed.Config{Query: query(text)}), "SELECT hex(v) FROM chunk")
		if len(rejects) > 0 || fmt.Sprint(rows) != fmt.Sprintf("[[%X]]", text) {
			t.Errorf("%X is read as %v %v", text, rows, rejects)
		}
	}
}
