package queue

import (
	"context"
	"slices"
	"sync"
)

// lines has those in this process wait for the same thing in the order in which
// they came, so that one of them at a time asks NATS. The zero value is ready.
type lines struct {
	mu sync.Mutex
	// Those who wait, by what they wait for; a name is there while it is
	// anybody's turn. What is sent is the turn.
	all map[string][]chan struct{}
}

// wait waits for this one's turn, until ctx ends; done gives it to the next.
func (ls *lines) wait(ctx context.Context, name string) (done func(), err error) {
	done = func() { ls.next(name) }
	ls.mu.Lock()
	line, taken := ls.all[name]
	if !taken {
		if ls.all == nil {
			ls.all = map[string][]chan struct{}{}
		}
		ls.all[name] = nil
		ls.mu.Unlock()
		return done, nil
	}
	mine := make(chan struct{}, 1)
	ls.all[name] = append(line, mine)
	ls.mu.Unlock()
	select {
	case <-mine:
		return done, nil
	case <-ctx.Done():
	}
	ls.mu.Lock()
	i := slices.Index(ls.all[name], mine)
	if i >= 0 {
		ls.all[name] = slices.Delete(ls.all[name], i, i+1)
	}
	ls.mu.Unlock()
	if i < 0 {
		done() // it was given the turn meanwhile
	}
	return nil, context.Cause(ctx)
}

// next ends the turn of whoever has it.
func (ls *lines) next(name string) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	line := ls.all[name]
	if len(line) == 0 {
		delete(ls.all, name)
		return
	}
	line[0] <- struct{}{}
	ls.all[name] = line[1:]
}
