package web

import (
	"context"
	"sync"
	"time"

	"drayage/coordinator/api"
	"drayage/pkg/clickhouse"
)

// jobSeen is all that the page shows of a job, as it was when it was read.
type jobSeen struct {
	job        api.JobView
	chunks     api.ChunkMap
	throughput api.Throughput
	slowest    []clickhouse.LedgerEntry
	errors     []clickhouse.ErrorGroup
	rejects    []clickhouse.RejectGroup
	// missing says why ClickHouse's part of it is old, or not there.
	missing error
}

// Rows of the job's tables.
const (
	shownSlowest = 10
	shownGroups  = 20
)

const (
	// seenFor is how long what was read of a job is shown to all who watch it.
	seenFor = 900 * time.Millisecond
	// seenLong is how old what ClickHouse says of a running job may be while
	// its record says that nothing has changed.
	seenLong = 5 * time.Second
	// maxSeen bounds the jobs of which something is kept.
	maxSeen = 64
)

// watched keeps what was read of the jobs that are looked at, so that many who
// watch one job ask for it once a second, and ClickHouse only when something has
// changed.
type watched struct {
	read func(context.Context, string, jobSeen, bool) (jobSeen, error)

	mu   sync.Mutex
	jobs map[string]*seen
}

type seen struct {
	mu     sync.Mutex
	at     time.Time // when the record was read
	deep   time.Time // when ClickHouse was asked
	last   jobSeen
	looked time.Time // when it was asked for
}

// get returns a job as it was within seenFor.
func (w *watched) get(ctx context.Context, id string) (jobSeen, error) {
	s := w.entry(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) < seenFor {
		return s.last, nil
	}
	now, err := w.read(ctx, id, s.last, time.Since(s.deep) > seenLong)
	if err != nil {
		return now, err
	}
	s.at = time.Now()
	if now.missing == nil && (changed(s.last.job, now.job) || time.Since(s.deep) > seenLong) {
		s.deep = s.at
	}
	s.last = now
	return now, nil
}

// forget has a job read anew, since it was changed from here.
func (w *watched) forget(id string) {
	s := w.entry(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = time.Time{}
}

func (w *watched) entry(id string) *seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.jobs == nil {
		w.jobs = map[string]*seen{}
	}
	if w.jobs[id] == nil {
		if len(w.jobs) >= maxSeen {
			oldest := ""
			for other, s := range w.jobs {
				if oldest == "" || s.looked.Before(w.jobs[oldest].looked) {
					oldest = other
				}
			}
			delete(w.jobs, oldest)
		}
		w.jobs[id] = &seen{}
	}
	w.jobs[id].looked = time.Now()
	return w.jobs[id]
}

// changed reports whether what the ledger has of a job may be other than before.
func changed(before, now api.JobView) bool {
	return before.ID == "" || before.Totals != now.Totals || before.Plan != now.Plan || before.State != now.State ||
		!before.UndoneAt.Equal(now.UndoneAt) || len(before.Claims) != len(now.Claims)
}

// readJob reads a job, and of ClickHouse what may have changed since before.
func (s *Site) readJob(ctx context.Context, id string, before jobSeen, old bool) (jobSeen, error) {
	now := before
	view, err := s.service.Job(ctx, id)
	if err != nil {
		return now, err
	}
	now.job = view
	// The workers' chunks change without the record.
	if !view.State.Terminal() || changed(before.job, view) || before.missing != nil {
		if now.chunks, now.missing = s.service.Chunks(ctx, id); now.missing != nil {
			now.chunks = before.chunks
			return now, nil //nolint:nilerr // shown as what is missing
		}
	}
	if !changed(before.job, view) && before.missing == nil && (view.State.Terminal() || !old) {
		return now, nil
	}
	slow, err := s.service.Slowest(ctx, id, shownSlowest)
	if err != nil {
		now.missing = err
		return now, nil //nolint:nilerr // shown as what is missing
	}
	failed, err := s.service.Errors(ctx, id, shownGroups)
	if err != nil {
		now.missing = err
		return now, nil //nolint:nilerr // shown as what is missing
	}
	through, err := s.service.Throughput(ctx, id)
	if err != nil {
		now.missing = err
		return now, nil //nolint:nilerr // shown as what is missing
	}
	now.slowest, now.errors, now.throughput, now.rejects = slow.Chunks, failed.Groups, through, nil
	if view.Totals.RowsRejected > 0 {
		groups, err := s.service.RejectGroups(ctx, id, shownGroups)
		if now.rejects = groups.Groups; err != nil {
			now.missing = err
		}
	}
	return now, nil
}
