package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
)

// calls are the three that make requests.
func (s *suite) calls(o store.Object) map[string]func(context.Context) error {
	all := map[string]func(context.Context) error{
		"Stat": func(ctx context.Context) error {
			_, err := s.store.Stat(ctx, o.Key)
			return err
		},
		"Read": func(ctx context.Context) error {
			r, err := s.store.Read(ctx, o, 0, o.Size)
			if err != nil {
				return err
			}
			_, err = io.ReadAll(r)
			return errors.Join(err, r.Close())
		},
	}
	if s.Page > 0 {
		all["List"] = func(ctx context.Context) error {
			_, err := s.listed(ctx, s.prefix, "")
			return err
		}
	}
	return all
}

// answers: what each status means, also when it comes from a proxy.
func answers(t *testing.T, s *suite) {
	o := s.made(t, "object", "content")
	for _, test := range []struct {
		code    int
		is      error // of Stat and Read
		classes []job.Class
	}{
		{code: http.StatusUnauthorized, classes: []job.Class{job.Permanent}},
		{code: http.StatusForbidden, classes: []job.Class{job.Permanent}},
		{code: http.StatusNotFound, is: store.ErrNotFound, classes: []job.Class{job.Permanent}},
		{code: http.StatusTooManyRequests, classes: []job.Class{job.SlowDown}},
		{code: http.StatusInternalServerError, classes: []job.Class{job.Retry}},
		{code: http.StatusBadGateway, classes: []job.Class{job.Retry}},
		{code: http.StatusServiceUnavailable, classes: []job.Class{job.SlowDown, job.Retry}},
	} {
		s.spoil(-1, fault{answer: status(test.code)})
		var all sync.WaitGroup
		for name, call := range s.calls(o) {
			all.Go(func() {
				what := fmt.Sprintf("%s that is answered with %d", name, test.code)
				begin := time.Now()
				err := call(t.Context())
				if took := time.Since(begin); took > Patience {
					t.Errorf("%s took %s", what, took)
				}
				subject, is := o.Key, test.is
				if name == "List" {
					subject, is = "", nil
				}
				s.fails(t, what, err, subject, is, test.classes...)
			})
		}
		all.Wait()
	}
	s.spoil(-1, fault{answer: status(http.StatusPreconditionFailed)})
	_, err := s.bytesOf(t, o, 0, o.Size)
	s.fails(t, "Read that is answered with 412", err, o.Key, store.ErrChanged, job.Permanent)
}

// overcome: one failure is not worth a word.
func overcome(t *testing.T, s *suite) {
	o := s.made(t, "object", "content")
	for _, code := range []int{http.StatusInternalServerError, http.StatusServiceUnavailable} {
		for name, call := range s.calls(o) {
			s.spoil(1, fault{answer: status(code)})
			if err := call(t.Context()); err != nil {
				t.Errorf("%s fails for one answer of %d: %v", name, code, err)
			}
		}
	}
	for name, call := range s.calls(o) {
		s.spoil(1, fault{answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }})
		if err := call(t.Context()); err != nil {
			t.Errorf("%s fails for one connection that was cut: %v", name, err)
		}
	}
}

// cancelled: a call ends with its context, wherever it is.
func cancelled(t *testing.T, s *suite) {
	const size, hold = 400_000, 100_000
	o := s.made(t, "digits", digits(size))
	for name, call := range s.calls(o) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s of a context that has ended: %v", name, err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		held := make(chan struct{})
		s.spoil(-1, fault{answer: s.hang(held)})
		s.ends(t, name+" of a silent server", held, cancel, func() error { return call(ctx) })
		s.heal()

		// While it waits to try again.
		ctx, cancel = context.WithCancel(t.Context())
		failed := make(chan struct{})
		once := sync.OnceFunc(func() { close(failed) })
		s.spoil(-1, fault{answer: func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Retry-After", "20")
			status(http.StatusServiceUnavailable)(w, req)
			once()
		}})
		s.ends(t, name+" between two attempts", failed, cancel, func() error {
			if err := call(ctx); !errors.Is(err, context.Canceled) && job.ClassOf(err) == job.Permanent {
				return err
			}
			return context.Canceled // it may have given up before
		})
		s.heal()
	}
	ctx, cancel := context.WithCancel(t.Context())
	held := make(chan struct{})
	s.spoil(1, fault{hold: hold, held: held})
	r, err := s.store.Read(ctx, o, 0, size)
	if err != nil {
		t.Fatal(err)
	}
	s.ends(t, "a body that stops", held, cancel, func() error {
		data, err := io.ReadAll(r)
		if !strings.HasPrefix(digits(size), string(data)) {
			t.Error("other bytes came before it stopped")
		}
		return err
	})
	if err := r.Close(); err != nil {
		t.Errorf("closing what was cancelled: %v", err)
	}
}

// ends checks that a call which waits for the server ends with its context.
func (s *suite) ends(t *testing.T, what string, waits <-chan struct{}, cancel func(), call func() error) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- call() }()
	<-waits
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s ends with %v", what, err)
		}
	case <-time.After(Prompt):
		t.Fatalf("%s does not end within %s of its context", what, Prompt)
	}
}

// concurrent: a store is one for all.
func concurrent(t *testing.T, s *suite) {
	const each = 20_000
	var objects []store.Object
	for i := range 4 {
		objects = append(objects, s.made(t, fmt.Sprint("object", i), digits(each+i)))
	}
	var all sync.WaitGroup
	for i := range 12 {
		o := objects[i%len(objects)]
		all.Go(func() {
			if got, err := s.bytesOf(t, o, 0, o.Size); err != nil || got != digits(int(o.Size)) {
				t.Errorf("%s gives %d bytes: %v", o.Key, len(got), err)
			}
			if now, err := s.store.Stat(t.Context(), o.Key); err != nil || now.Version != o.Version {
				t.Errorf("%s is %+v: %v", o.Key, now, err)
			}
			if s.Page == 0 {
				return
			}
			if found, err := s.listed(t.Context(), s.prefix, ""); err != nil || len(found) != len(objects) {
				t.Errorf("%d objects are listed: %v", len(found), err)
			}
		})
	}
	all.Wait()
}
