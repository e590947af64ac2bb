package coordinator

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// The planner is never further ahead of the outcomes than the window is wide,
// and goes on as soon as there is room.
func TestWindow(t *testing.T) {
	const size, chunks = 5, 200
	w := newWindow(size, 0)
	var planned, done atomic.Int64
	ended := make(chan error, 1)
	go func() {
		for range chunks {
			if err := w.enter(t.Context()); err != nil {
				ended <- err
				return
			}
			if ahead := planned.Add(1) - done.Load(); ahead > size {
				ended <- errors.New("too far ahead")
				return
			}
		}
		ended <- nil
	}()
	for n := range uint64(chunks) {
		done.Store(int64(n))
		w.outcomes(n)
		w.outcomes(n / 2) // an older count changes nothing
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("the planner waits after %d chunks", planned.Load())
	}
}

func TestWindowEndsWithItsContext(t *testing.T) {
	w := newWindow(1, 3) // a coordinator that takes over: three chunks are out
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if err := w.enter(ctx); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	w.outcomes(3)
	if err := w.enter(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConfigValidate(t *testing.T) {
	good := Config{Window: 100, InFlight: 10, Account: time.Second, Lead: time.Second, LookupRows: 1, LookupBytes: 1}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"window":    func(c *Config) { c.Window = 0 },
		"in flight": func(c *Config) { c.InFlight = c.Window + 1 },
		"account":   func(c *Config) { c.Account = 0 },
		"lead":      func(c *Config) { c.Lead = 0 },
		"hedge":     func(c *Config) { c.Hedge = -1 },
		"rows":      func(c *Config) { c.LookupRows = 0 },
		"bytes":     func(c *Config) { c.LookupBytes = 0 },
	} {
		c := good
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
