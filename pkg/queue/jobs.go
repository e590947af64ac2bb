package queue

import (
	"cmp"
	"context"
	"strings"
	"time"

	"drayage/pkg/job"
)

// CreateJob records a new job. ErrExists: there is one of that id, and it is
// not touched, which makes the id an idempotency key. Repeated until answered
// or ctx ends.
func (q *Queue) CreateJob(ctx context.Context, j job.Job) (Revision, error) {
	return q.putJob(ctx, "create job "+j.ID, j, 0)
}

// UpdateJob replaces the record if it still has the revision rev, the one that
// Job, WatchJobs, CreateJob or UpdateJob gave. ErrConflict: it has not; read
// it again and decide again. Repeated until answered or ctx ends, and a
// conflict with our own earlier try is recognised as success, unless another
// has written on top of it since: the record is then not as this call left it,
// which is what ErrConflict says.
//
// ErrFull: the record has grown and the bucket has no room for that; deleting
// records of other jobs makes some. *job.NewerError: the job is one of newer
// programs, and nothing is written.
//
// The record of a job in a terminal state goes away Config.JobRetention after
// its last update.
func (q *Queue) UpdateJob(ctx context.Context, j job.Job, rev Revision) (Revision, error) {
	if rev == 0 {
		return 0, invalid("update job %.140q without a revision", j.ID)
	}
	return q.putJob(ctx, "update job "+j.ID, j, rev)
}

func (q *Queue) jobs() records[job.Job] {
	return records[job.Job]{q, "job", bucketJobs, "", func(j *job.Job) *string { return &j.ID }}
}

// EditJob reads the record of a job, has edit change it, and writes it if
// nobody else did meanwhile; else all of that again, a bounded number of times
// until ErrConflict. It returns the record as written. An error of edit ends it
// and nothing is written. It writes also when edit changes nothing, which is
// what proves that the record was the last one: reads may be a moment old.
//
// So edit may run several times, each time on the record as it is then, and it
// must decide anew: a record may hold its own change already, when that was
// written, the answer was lost, and another has written since.
func (q *Queue) EditJob(ctx context.Context, id string, edit func(*job.Job) error) (job.Job, error) {
	return q.jobs().edit(ctx, id, edit, q.UpdateJob)
}

func (q *Queue) putJob(ctx context.Context, what string, j job.Job, rev Revision) (Revision, error) {
	var ttl time.Duration
	if j.State.Terminal() {
		ttl = q.cfg.JobRetention.Round(time.Second) // NATS counts whole seconds
	}
	return q.jobs().put(ctx, what, j, rev, ttl)
}

// Job reads the record of a job. ErrNotFound. On a replicated bucket it may be
// a moment old: decide by UpdateJob, which then says ErrConflict.
func (q *Queue) Job(ctx context.Context, id string) (job.Job, Revision, error) {
	return q.jobs().get(ctx, id)
}

// Jobs returns the records of all jobs, newest first. How many there are is
// bounded by Config.JobRetention and JobsMaxBytes. A record that can not be
// read is logged and left out.
func (q *Queue) Jobs(ctx context.Context) ([]job.Job, error) {
	return q.jobs().all(ctx, func(a, b job.Job) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(b.ID, a.ID))
	})
}

// JobUpdate is what WatchJobs tells.
type JobUpdate struct {
	Job      job.Job // only ID when Deleted, empty when CaughtUp
	Revision Revision
	Deleted  bool // the record was deleted or is past its retention
	// CaughtUp marks, once, that every job there was has been told; what
	// follows is change. It comes alone, without a job.
	CaughtUp bool
}

// WatchJobs tells the present records, then CaughtUp, then every change that
// is still there when it is read: several changes of one job in quick
// succession may be told as the last of them. It survives reconnections
// without a gap; only a deletion more than an hour ago can be missed. The
// channel holds a few updates and then waits for its reader; it is closed when
// ctx ends or the Queue is closed. A record that can not be read is logged and
// left out.
func (q *Queue) WatchJobs(ctx context.Context) (<-chan JobUpdate, error) {
	return watch(ctx, q.jobs(), func(j job.Job, rev Revision, gone bool) JobUpdate {
		return JobUpdate{Job: j, Revision: rev, Deleted: gone}
	}, &JobUpdate{CaughtUp: true})
}

// DeleteJob removes the record of a job. Watchers are told. Idempotent.
func (q *Queue) DeleteJob(ctx context.Context, id string) error { return q.jobs().purge(ctx, id) }
