package coordinator

import (
	"context"
	"sync"
)

// window bounds the chunks that are planned and have no outcome yet: the
// planner waits in it, and each outcome makes room.
type window struct {
	mu      sync.Mutex
	size    int64
	planned int64
	done    int64
	moved   chan struct{} // closed and made anew when done grows
}

func newWindow(size int, planned uint64) *window {
	return &window{size: int64(size), planned: int64(planned), moved: make(chan struct{})}
}

// enter waits for room for one chunk and takes it.
func (w *window) enter(ctx context.Context) error {
	for {
		w.mu.Lock()
		if w.planned-w.done < w.size {
			w.planned++
			w.mu.Unlock()
			return nil
		}
		moved := w.moved
		w.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// outcomes says how many chunks have an outcome by now.
func (w *window) outcomes(n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if int64(n) > w.done {
		w.done = int64(n)
		close(w.moved)
		w.moved = make(chan struct{})
	}
}
