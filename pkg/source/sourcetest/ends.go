package sourcetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// errStopped is the cause with which the suite cancels.
var errStopped = errors.New("stopped by the test")

// within fails the test when do has not ended in time.
func (s *suite) within(t *testing.T, what string, do func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-time.After(s.Prompt):
		t.Errorf("%s did not end within %s", what, s.Prompt)
		return <-done
	}
}

// cancelled: what was cancelled ends at once, and says so.
func (s *suite) cancelled(t *testing.T) {
	over, stop := context.WithCancelCause(t.Context())
	stop(errStopped)
	t.Run("Plan", func(t *testing.T) {
		var got []source.Planned
		err := s.within(t, "Plan", func() (err error) {
			got, err = plan(over, s.fresh(t), nil, s.columns)
			return err
		})
		if err == nil {
			t.Errorf("%d chunks were planned, and no error came", len(got))
		} else if !stopped(err) {
			t.Errorf("the error is %v, not that of the context", err)
		}
	})
	t.Run("PlanBegun", func(t *testing.T) {
		ctx, stop := context.WithCancelCause(t.Context())
		defer stop(nil)
		n := 0
		err := s.within(t, "Plan", func() error {
			for _, err := range s.fresh(t).Plan(ctx, nil, s.columns) {
				if err != nil {
					return err
				}
				n++
				stop(errStopped)
			}
			return nil
		})
		// One chunk may have been read ahead.
		if n > 2 || err == nil && len(s.chunks) > 2 {
			t.Errorf("%d chunks came, and then %v", n, err)
		} else if err != nil && !stopped(err) {
			t.Errorf("the error is %v, not that of the context", err)
		}
	})
	t.Run("Open", func(t *testing.T) {
		err := s.within(t, "Open", func() error { return drain(over, s.fresh(t), s.chunks[0].Input, s.columns, nil) })
		if err != nil && !stopped(err) {
			t.Errorf("the error is %v, not that of the context", err)
		}
	})
	t.Run("Read", func(t *testing.T) {
		ctx, stop := context.WithCancelCause(t.Context())
		defer stop(nil)
		err := s.within(t, "reading", func() error {
			return drain(ctx, s.fresh(t), s.chunks[len(s.chunks)-1].Input, s.columns, func() { stop(errStopped) })
		})
		if err != nil && !stopped(err) {
			t.Errorf("the error is %v, not that of the context", err)
		}
	})
}

func stopped(err error) bool { return errors.Is(err, errStopped) || errors.Is(err, context.Canceled) }

// drain opens a chunk and reads it to its end. Begun is called after the first
// bytes.
func drain(ctx context.Context, src source.Source, input json.RawMessage, columns []job.Column, begun func()) error {
	in, err := open(ctx, src, input, columns)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // how reading ended is what counts
	if in.Reader == nil {
		return nil
	}
	if begun != nil {
		if _, err := in.Reader.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		begun()
	}
	_, err = io.Copy(io.Discard, in.Reader)
	return err
}

// nonsense: a description that is not the source's own is a permanent error.
func (s *suite) nonsense(t *testing.T) {
	for _, text := range []string{`[]`, `"x"`, `17`} {
		src := s.fresh(t)
		in, err := src.Open(t.Context(), json.RawMessage(text), s.columns)
		if err == nil {
			_ = in.Close() // it should not be there
			t.Errorf("the input %s was opened", text)
		} else if job.ClassOf(err) != job.Permanent {
			t.Errorf("the input %s gives an error that is %s: %v", text, job.ClassOf(err), err)
		}
		if err != nil {
			s.leaks(t, "an error", err.Error())
		}
		if _, err := plan(t.Context(), src, json.RawMessage(text), s.columns); err == nil {
			t.Errorf("there is a plan from the cursor %s", text)
		} else if job.ClassOf(err) != job.Permanent {
			t.Errorf("the cursor %s gives an error that is %s: %v", text, job.ClassOf(err), err)
		}
		if l, ok := src.(source.Locator); ok {
			if _, err := l.Locate(json.RawMessage(text)); err == nil {
				t.Errorf("the input %s has a place", text)
			}
		}
	}
}

// changed: of an input that is not the one that was planned nothing is read, not
// even by who has it open.
func (s *suite) changed(t *testing.T) {
	if s.Change == nil {
		t.Skip("the case has no Change")
	}
	src := s.fresh(t)
	held, err := open(t.Context(), src, s.chunks[0].Input, s.columns)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Change(); err != nil {
		t.Fatalf("changing the input: %v", err)
	}
	read := func(in *source.Input) (err error) {
		if r := reader(in); r != nil {
			_, err = io.Copy(io.Discard, r)
		}
		return errors.Join(err, finish(in))
	}
	tell := func(how string, err error) {
		if !errors.Is(err, source.ErrChanged) && !errors.Is(err, source.ErrGone) {
			t.Errorf("%s gives %v, not source.ErrChanged or source.ErrGone", how, err)
		} else if job.ClassOf(err) != job.Permanent {
			t.Errorf("%s gives an error that is %s: %v", how, job.ClassOf(err), err)
		}
	}
	tell("reading what was open", read(held))
	for _, at := range s.sample() {
		in, err := open(t.Context(), s.fresh(t), s.chunks[at].Input, s.columns)
		if err == nil {
			err = read(in)
		}
		tell(fmt.Sprintf("chunk %d", at), err)
	}
}

// memory: neither planning nor reading holds more than the limit.
func (s *suite) memory(t *testing.T) {
	if grown := growth(func(look func()) error {
		n := 0
		for _, err := range s.fresh(t).Plan(t.Context(), nil, s.columns) {
			if err != nil {
				return err
			}
			if n++; n%max(1, len(s.chunks)/8) == 0 {
				look()
			}
		}
		return nil
	}); grown.err != nil || grown.bytes > s.Memory {
		t.Errorf("planning took %d bytes, the limit is %d: %v", grown.bytes, s.Memory, grown.err)
	}
	big := 0
	for i, c := range s.chunks {
		if c.Bytes > s.chunks[big].Bytes {
			big = i
		}
	}
	if grown := growth(func(look func()) error {
		in, err := open(t.Context(), s.fresh(t), s.chunks[big].Input, s.columns)
		if err != nil {
			return err
		}
		look()
		if in.Reader != nil {
			_, err = io.Copy(&looking{look: look, every: max(1<<20, s.chunks[big].Bytes/8)}, in.Reader)
		}
		look()
		return errors.Join(err, in.Close())
	}); grown.err != nil || grown.bytes > s.Memory {
		t.Errorf("reading the largest chunk took %d bytes, the limit is %d: %v", grown.bytes, s.Memory, grown.err)
	}
}

// looking is a writer that looks at the memory now and then.
type looking struct {
	look        func()
	every, next int64
	n           int64
}

func (l *looking) Write(b []byte) (int, error) {
	if l.n += int64(len(b)); l.n >= l.next {
		l.look()
		l.next = l.n + l.every
	}
	return len(b), nil
}

type grown struct {
	bytes int64
	err   error
}

// growth is by how much the live heap was larger, where do looked.
func growth(do func(look func()) error) grown {
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc) //nolint:gosec // far below
	}
	before, most := live(), int64(0)
	err := do(func() { most = max(most, live()-before) })
	if err != nil {
		err = fmt.Errorf("it failed: %w", err)
	}
	return grown{most, err}
}
