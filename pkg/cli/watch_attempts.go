package cli

import (
	"context"
	"sync"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// Bounds of the failed attempts that watch remembers.
const (
	keptAttempts = 200 // of all jobs together
	shownErrors  = 5   // of the chosen job on the screen
)

// attempts follows the failed attempts of jobs.
type attempts struct {
	queue *queue.Queue
	group sync.WaitGroup

	mu       sync.Mutex
	followed map[string]bool
	last     []job.Attempt // the oldest first
	n        uint64        // told so far, those forgotten too
}

func newAttempts(q *queue.Queue) *attempts {
	return &attempts{queue: q, followed: map[string]bool{}}
}

// follow follows a job's attempts until ctx ends, and returns when those that
// there were are known. Word of attempts may be lost, so a failure to follow ends
// in nothing worse than an empty list.
func (a *attempts) follow(ctx context.Context, id string) {
	a.mu.Lock()
	known := a.followed[id]
	a.followed[id] = true
	a.mu.Unlock()
	if known {
		return
	}
	present := make(chan struct{})
	caughtUp := sync.OnceFunc(func() { close(present) })
	a.group.Go(func() {
		defer caughtUp()
		_ = a.queue.Attempts(ctx, id, func(t job.Attempt) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.n++; len(a.last) == keptAttempts {
				a.last = a.last[1:]
			}
			a.last = append(a.last, t)
			return nil
		}, queue.WhenCaughtUp(caughtUp))
	})
	select {
	case <-present:
	case <-ctx.Done():
	}
}

// wait waits until nobody is followed any more.
func (a *attempts) wait() { a.group.Wait() }

// since returns the attempts that came after number n, as far as they are
// remembered, and moves it on.
func (a *attempts) since(n *uint64) []job.Attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	fresh := min(a.n-*n, uint64(len(a.last)))
	*n = a.n
	return append([]job.Attempt(nil), a.last[uint64(len(a.last))-fresh:]...)
}

// of returns the last attempts of a job, the newest first.
func (a *attempts) of(id string) (found []job.Attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := len(a.last) - 1; i >= 0 && len(found) < shownErrors; i-- {
		if a.last[i].Job == id {
			found = append(found, a.last[i])
		}
	}
	return found
}
