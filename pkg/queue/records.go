package queue

import (
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

// record is what a bucket has under a name.
type record interface {
	// Understood is a *job.NewerError for a record of newer programs.
	Understood() error
}

// records are the records of one kind, as JSON, each under its name.
type records[T record] struct {
	q      *Queue
	kind   string // what a person calls one of them
	bucket string
	prefix string           // of their keys
	name   func(*T) *string // where a record has its name
}

func (r records[T]) check(name string) error {
	if !job.ValidID(name) {
		return invalid("%s %.140q: 1 to %d characters of [a-z0-9_-]", r.kind, name, job.MaxID)
	}
	return nil
}

// get reads a record. ErrNotFound.
func (r records[T]) get(ctx context.Context, name string) (T, Revision, error) {
	var v, none T
	if err := r.check(name); err != nil {
		return none, 0, err
	}
	data, rev, err := r.q.bucket(r.bucket).get(ctx, r.prefix+name)
	switch {
	case errors.Is(err, ErrNotFound):
		return none, 0, job.Permanentf("%s %s: %w", r.kind, name, ErrNotFound)
	case err != nil:
		return none, 0, fmt.Errorf("read %s %s: %w", r.kind, name, err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return none, 0, fmt.Errorf("read %s %s: %w", r.kind, name, invalid("%v", err))
	}
	return v, rev, nil
}

// put writes a record, as bucket.put does.
func (r records[T]) put(ctx context.Context, what string, v T, rev Revision, ttl time.Duration) (Revision, error) {
	name := *r.name(&v)
	if err := r.check(name); err != nil {
		return 0, err
	}
	// To write it would be to take away what this program can not read.
	if err := v.Understood(); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, invalid("%v", err))
	}
	return r.q.bucket(r.bucket).put(ctx, what, r.prefix+name, data, rev, ttl)
}

// maxEdits bounds how often an edit starts again.
const maxEdits = 20

// edit reads a record, has change it, and writes it with put if nobody else did
// meanwhile; see EditJob.
func (r records[T]) edit(ctx context.Context, name string, change func(*T) error, put func(context.Context, T, Revision) (Revision, error)) (T, error) {
	var none T
	for attempt := 1; ; attempt++ {
		v, rev, err := r.get(ctx, name)
		if err != nil {
			return none, err
		}
		if err := change(&v); err != nil {
			return none, err
		}
		if now := *r.name(&v); now != name {
			return none, invalid("edit %s %s: renamed to %.140q", r.kind, name, now)
		}
		_, err = put(ctx, v, rev)
		if err == nil {
			return v, nil
		}
		if !errors.Is(err, ErrConflict) || attempt == maxEdits {
			return none, err
		}
		if !r.q.pause(ctx, min(attempt, 3)) { // a replica may need a moment
			return none, r.q.ended(ctx, fmt.Sprintf("edit %s %s", r.kind, name), err)
		}
	}
}

// purge removes a record. Watchers are told. Idempotent.
func (r records[T]) purge(ctx context.Context, name string) error {
	if err := r.check(name); err != nil {
		return err
	}
	return r.q.bucket(r.bucket).purge(ctx, fmt.Sprintf("delete %s %s", r.kind, name), r.prefix+name, 0)
}

func (r records[T]) subjects() string { return "$KV." + r.bucket + "." + r.prefix }

// read decodes a message of the bucket; of a deleted record v has the name alone.
// One that can not be read is logged.
func (r records[T]) read(m *jetstream.RawStreamMsg) (v T, gone, ok bool) {
	name := strings.TrimPrefix(m.Subject, r.subjects())
	if deleted(m.Header) {
		*r.name(&v) = name
		return v, true, true
	}
	err := json.Unmarshal(m.Data, &v)
	if now := *r.name(&v); err == nil && now != name {
		err = fmt.Errorf("%s %q under key %q", r.kind, now, name)
	}
	if err != nil {
		r.q.cfg.Log.Error().Err(err).Str("key", name).Msg(r.kind + " record can not be read")
	}
	return v, false, err == nil
}

// all returns the records in an order. One that can not be read is left out.
func (r records[T]) all(ctx context.Context, order func(a, b T) int) ([]T, error) {
	found := map[string]T{}
	err := r.q.list(ctx, "list "+r.kind+"s", bucketPrefix+r.bucket, r.subjects()+">", func(m *jetstream.RawStreamMsg) error {
		if v, gone, ok := r.read(m); ok && !gone {
			found[m.Subject] = v
		} else {
			delete(found, m.Subject)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]T, 0, len(found))
	for _, v := range found {
		all = append(all, v)
	}
	slices.SortFunc(all, order)
	return all, nil
}

// watch tells the present records, then the update caughtUp unless it is nil, and
// then every change; see WatchJobs.
func watch[T record, U any](ctx context.Context, r records[T], update func(v T, rev Revision, gone bool) U, caughtUp *U) (<-chan U, error) {
	what := "watch " + r.kind + "s"
	// Fail here, and not in the background, when there is no bucket.
	err := r.q.repeat(ctx, what, apiStreamInfo+bucketPrefix+r.bucket, func(ctx context.Context) error {
		_, err := r.q.stream(ctx, bucketPrefix+r.bucket)
		return err
	})
	if err != nil {
		return nil, err
	}
	ch := make(chan U, 16)
	tell := func(u U) error {
		select {
		case ch <- u:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	w := following{
		q: r.q, what: what, stream: bucketPrefix + r.bucket, subject: r.subjects() + ">",
		fn: func(m *jetstream.RawStreamMsg) error {
			if v, gone, ok := r.read(m); ok {
				return tell(update(v, Revision(m.Sequence), gone))
			}
			return nil
		},
	}
	if caughtUp != nil {
		w.caughtUp = func() { _ = tell(*caughtUp) }
	}
	go func() {
		defer close(ch)
		if err := w.run(ctx); err != nil && ctx.Err() == nil {
			r.q.cfg.Log.Error().Err(err).Msg("watching " + r.kind + "s ended")
		}
	}()
	return ch, nil
}
