package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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

// maxEdits bounds how often EditJob starts again.
const maxEdits = 20

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
	for attempt := 1; ; attempt++ {
		j, rev, err := q.Job(ctx, id)
		if err != nil {
			return job.Job{}, err
		}
		if err := edit(&j); err != nil {
			return job.Job{}, err
		}
		if j.ID != id {
			return job.Job{}, invalid("edit job %s: renamed to %.140q", id, j.ID)
		}
		_, err = q.UpdateJob(ctx, j, rev)
		if err == nil {
			return j, nil
		}
		if !errors.Is(err, ErrConflict) || attempt == maxEdits {
			return job.Job{}, err
		}
		if !q.pause(ctx, min(attempt, 3)) { // a replica may need a moment
			return job.Job{}, q.ended(ctx, "edit job "+id, err)
		}
	}
}

func (q *Queue) putJob(ctx context.Context, what string, j job.Job, rev Revision) (Revision, error) {
	if err := checkJobID(j.ID); err != nil {
		return 0, err
	}
	// To write it would be to take away what this program can not read.
	if err := j.Understood(); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	data, err := json.Marshal(j)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, invalid("%v", err))
	}
	var ttl time.Duration
	if j.State.Terminal() {
		ttl = q.cfg.JobRetention.Round(time.Second) // NATS counts whole seconds
	}
	return q.bucket(bucketJobs).put(ctx, what, j.ID, data, rev, ttl)
}

// Job reads the record of a job. ErrNotFound. On a replicated bucket it may be
// a moment old: decide by UpdateJob, which then says ErrConflict.
func (q *Queue) Job(ctx context.Context, id string) (job.Job, Revision, error) {
	if err := checkJobID(id); err != nil {
		return job.Job{}, 0, err
	}
	data, rev, err := q.bucket(bucketJobs).get(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return job.Job{}, 0, job.WithClass(fmt.Errorf("job %s: %w", id, ErrNotFound), job.Permanent)
	}
	if err != nil {
		return job.Job{}, 0, fmt.Errorf("read job %s: %w", id, err)
	}
	var j job.Job
	if err := json.Unmarshal(data, &j); err != nil {
		return job.Job{}, 0, fmt.Errorf("read job %s: %w", id, invalid("%v", err))
	}
	return j, rev, nil
}

// Jobs returns the records of all jobs, newest first. How many there are is
// bounded by Config.JobRetention and JobsMaxBytes. A record that can not be
// read is logged and left out.
func (q *Queue) Jobs(ctx context.Context) ([]job.Job, error) {
	found := map[string]job.Job{}
	err := q.list(ctx, "list jobs", bucketPrefix+bucketJobs, "$KV."+bucketJobs+".>", func(m *jetstream.RawStreamMsg) error {
		if u, ok := q.jobUpdate(m); ok && !u.Deleted {
			found[u.Job.ID] = u.Job
		} else {
			delete(found, u.Job.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	jobs := make([]job.Job, 0, len(found))
	for _, j := range found {
		jobs = append(jobs, j)
	}
	slices.SortFunc(jobs, func(a, b job.Job) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(b.ID, a.ID))
	})
	return jobs, nil
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
	// Fail here, and not in the background, when there is no bucket.
	err := q.repeat(ctx, "watch jobs", apiStreamInfo+bucketPrefix+bucketJobs, func(ctx context.Context) error {
		_, err := q.stream(ctx, bucketPrefix+bucketJobs)
		return err
	})
	if err != nil {
		return nil, err
	}
	ch := make(chan JobUpdate, 16)
	tell := func(u JobUpdate) error {
		select {
		case ch <- u:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	w := following{
		q: q, what: "watch jobs", stream: "KV_" + bucketJobs, subject: "$KV." + bucketJobs + ".>",
		fn: func(m *jetstream.RawStreamMsg) error {
			if u, ok := q.jobUpdate(m); ok {
				return tell(u)
			}
			return nil
		},
	}
	w.caughtUp = func() { _ = tell(JobUpdate{CaughtUp: true}) }
	go func() {
		defer close(ch)
		if err := w.run(ctx); err != nil && ctx.Err() == nil {
			q.cfg.Log.Error().Err(err).Msg("watching jobs ended")
		}
	}()
	return ch, nil
}

func (q *Queue) jobUpdate(m *jetstream.RawStreamMsg) (JobUpdate, bool) {
	u := JobUpdate{Revision: Revision(m.Sequence)}
	id := strings.TrimPrefix(m.Subject, "$KV."+bucketJobs+".")
	if deleted(m.Header) {
		u.Job.ID, u.Deleted = id, true
		return u, true
	}
	err := json.Unmarshal(m.Data, &u.Job)
	if err == nil && u.Job.ID != id {
		err = fmt.Errorf("job %q under key %q", u.Job.ID, id)
	}
	if err != nil {
		q.cfg.Log.Error().Err(err).Str("key", id).Msg("job record can not be read")
		u.Job = job.Job{ID: id}
		return u, false
	}
	return u, true
}

// DeleteJob removes the record of a job. Watchers are told. Idempotent.
func (q *Queue) DeleteJob(ctx context.Context, id string) error {
	if err := checkJobID(id); err != nil {
		return err
	}
	return q.bucket(bucketJobs).purge(ctx, "delete job "+id, id, 0)
}
