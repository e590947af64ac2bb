package coordinator

import (
	"context"
	"errors"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

const (
	// strayAfter is the age at which a snapshot is dropped whose job nobody
	// here knows: it may be of another fleet that uses the same ClickHouse.
	strayAfter = 7 * 24 * time.Hour
	// dropWait bounds what a job's end waits for ClickHouse; the sweep drops
	// what is left then.
	dropWait = 30 * time.Second
)

// dropLookups drops the snapshots of a job that has ended, those too of
// attempts to plan it that were interrupted. It is done after the end is
// recorded: until then another coordinator may still find work for a worker
// that has not read them.
func (d *driver) dropLookups(ctx context.Context, j job.Job) {
	if j.Frozen != nil && !copies(j.Frozen) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropWait)
	defer cancel()
	err := d.c.dropSnapshots(ctx, d.id, func(clickhouse.Snapshot) bool { return true })
	if err != nil {
		d.log.Warn().Err(err).Msg("snapshots of lookups are left; they are dropped later")
	}
}

// copies reports whether any lookup of the job was copied.
func copies(f *job.Frozen) bool {
	for _, l := range f.Lookups {
		if l.Copied() {
			return true
		}
	}
	return false
}

// dropSnapshots drops those of a job, or of all for "", that are of no use.
func (c *Coordinator) dropSnapshots(ctx context.Context, jobID string, useless func(clickhouse.Snapshot) bool) error {
	all, err := c.ClickHouse.Snapshots(ctx, jobID)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range all {
		if useless(s) {
			errs = append(errs, c.ClickHouse.DropSnapshot(ctx, s))
		}
	}
	return errors.Join(errs...)
}

// sweepLookups drops the snapshots that no job needs any more: their
// coordinator died before it could.
func (c *Coordinator) sweepLookups(ctx context.Context) error {
	return c.dropSnapshots(ctx, "", func(s clickhouse.Snapshot) bool {
		j, _, err := c.Queue.Job(ctx, s.Job)
		switch {
		case errors.Is(err, queue.ErrNotFound):
			return time.Since(s.Changed) > strayAfter
		case err != nil:
			return false
		case j.State.Terminal():
			return true
		case j.Frozen == nil:
			return false // it may just be made
		}
		l := j.Frozen.Lookups[s.Lookup]
		return l.Table != s.Table.Name
	})
}
