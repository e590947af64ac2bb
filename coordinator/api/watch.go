package api

import (
	"context"
	"time"
)

// Change is what has changed of the jobs.
type Change struct {
	Rows []JobRow // in the order of their changes
	// At are the revisions of the rows: to watch after one is to be told what
	// follows.
	At       []uint64
	Gone     []string // jobs whose record is no more
	Revision uint64   // of the last change told
	// Reset says that jobs may have gone that are not known any more: what was
	// told before is to be forgotten.
	Reset bool
}

// watchPause is the time between two changes that are told: what happens
// meanwhile is told together.
const watchPause = 250 * time.Millisecond

// Watch tells what changes of one job, or of all where only is empty, until ctx
// or an error of fn ends it; ctx's end is no error. With after it begins with
// what has changed since that revision, without with what changes from now on;
// the first Change comes at once and may be empty. A slow fn is told the last of
// several changes of a job, and holds up nobody.
func (s *Service) Watch(ctx context.Context, only string, after *uint64, fn func(Change) error) error {
	if err := s.board.wait(ctx); err != nil {
		return err
	}
	since := uint64(0)
	if after != nil {
		since = *after
	}
	w, complete, stop := s.board.watch(only, since, after == nil)
	defer stop()
	for first := true; ; first = false {
		c, err := s.change(ctx, w)
		if err != nil {
			return err
		}
		c.Reset = first && !complete
		if first || len(c.Rows)+len(c.Gone) > 0 {
			if err := fn(c); err != nil {
				return err
			}
		}
		pause(ctx, watchPause)
		select {
		case <-w.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// change takes what has changed for a watcher.
func (s *Service) change(ctx context.Context, w *watcher) (c Change, err error) {
	changed, gone, revision := s.board.changes(w)
	c.Gone, c.Revision = gone, revision
	for _, e := range changed {
		row := e.now(time.Now())
		if row.Waits, err = s.waits(ctx, row, e.needs); err != nil {
			return c, err
		}
		c.Rows, c.At = append(c.Rows, row), append(c.At, e.revision)
	}
	return c, nil
}
