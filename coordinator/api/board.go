package api

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"drayage/pkg/queue"
)

// board holds a row for each job, as the last change of its record told.
// Whoever watches is told which rows have changed and reads them when it can: a
// slow watcher sees the last of several changes, and holds nobody up.
type board struct {
	mu       sync.Mutex
	rows     map[string]entry
	revision uint64 // of the last change
	gone     []departed
	forgot   uint64 // departures up to this revision are not known any more
	watchers map[*watcher]bool

	ready chan struct{} // closed when all jobs that there were have been told
	once  sync.Once
	seen  map[string]bool // since the watch began, until it has caught up; nil after
}

// entry is a row with what is needed to find it and to say why it waits.
type entry struct {
	JobRow
	needs    needs
	revision uint64
	text     string // what a search looks in, in lower case
}

// departed is a job whose record is no more.
type departed struct {
	id       string
	revision uint64
}

// maxGone bounds the departures that are remembered for watchers that come back.
const maxGone = 1000

// watcher is one who watches the board.
type watcher struct {
	only    string // a job; empty: all
	changed map[string]bool
	wake    chan struct{}
}

func newBoard() *board {
	return &board{rows: map[string]entry{}, watchers: map[*watcher]bool{}, ready: make(chan struct{})}
}

// begin starts another reading of all jobs.
func (b *board) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = map[string]bool{}
}

func (b *board) take(u queue.JobUpdate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if u.CaughtUp {
		for id := range b.rows {
			if b.seen != nil && !b.seen[id] { // it went while nobody watched
				b.remove(id, b.revision)
			}
		}
		b.seen = nil
		b.once.Do(func() { close(b.ready) })
		return
	}
	revision := uint64(u.Revision)
	b.revision = max(b.revision, revision)
	if u.Deleted {
		b.remove(u.Job.ID, revision)
		return
	}
	if b.seen != nil {
		b.seen[u.Job.ID] = true
	}
	if b.rows[u.Job.ID].revision == revision {
		return // told again
	}
	row := rowOf(u.Job)
	b.rows[u.Job.ID] = entry{
		JobRow: row, needs: needsOf(u.Job), revision: revision,
		text: strings.ToLower(strings.Join(append([]string{row.ID, row.Name, row.File, row.Error}, row.Tables...), "\n")),
	}
	b.tell(u.Job.ID)
}

func (b *board) remove(id string, revision uint64) {
	if _, there := b.rows[id]; !there {
		return
	}
	delete(b.rows, id)
	if b.gone = append(b.gone, departed{id, revision}); len(b.gone) > maxGone {
		b.forgot = b.gone[0].revision
		b.gone = b.gone[1:]
	}
	b.tell(id)
}

func (b *board) tell(id string) {
	for w := range b.watchers {
		if w.only != "" && w.only != id {
			continue
		}
		w.changed[id] = true
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// wait waits until the board knows all jobs.
func (b *board) wait(ctx context.Context) error {
	select {
	case <-b.ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// list returns the entries that keep lets through, the newest first.
func (b *board) list(keep func(*entry) bool) []entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []entry
	for _, e := range b.rows {
		if keep(&e) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(x, y entry) int {
		return cmp.Or(y.CreatedAt.Compare(x.CreatedAt), strings.Compare(y.ID, x.ID))
	})
	return all
}

// watch begins to watch one job, or all. What has changed after the revision is
// told first; with now set nothing is. complete is false when jobs may have gone
// since that are not known any more. stop ends it.
func (b *board) watch(only string, after uint64, now bool) (w *watcher, complete bool, stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w = &watcher{only: only, changed: map[string]bool{}, wake: make(chan struct{}, 1)}
	if !now {
		for id, e := range b.rows {
			if e.revision > after && (only == "" || only == id) {
				w.changed[id] = true
			}
		}
		for _, d := range b.gone {
			if d.revision > after && (only == "" || only == d.id) {
				w.changed[d.id] = true
			}
		}
		if len(w.changed) > 0 {
			w.wake <- struct{}{}
		}
	}
	b.watchers[w] = true
	return w, now || after >= b.forgot && after <= b.revision, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, w)
	}
}

// changes takes what has changed for a watcher, in the order of the changes; a
// job that is gone has no row but its name. revision is the board's by then.
func (b *board) changes(w *watcher) (changed []entry, gone []string, revision uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range w.changed {
		if e, there := b.rows[id]; there {
			changed = append(changed, e)
		} else {
			gone = append(gone, id)
		}
	}
	clear(w.changed)
	slices.Sort(gone)
	slices.SortFunc(changed, func(x, y entry) int { return cmp.Compare(x.revision, y.revision) })
	return changed, gone, b.revision
}
