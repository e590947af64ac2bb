package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/fault"
	"drayage/pkg/job"
)

// target is the table that the rows of a job are for.
func target(j job.Job) clickhouse.Table {
	database, name := j.Target()
	return clickhouse.Table{Database: database, Name: name}
}

// stagingName is the table in which the rows of a job wait to be published. It is
// of that job alone.
func stagingName(t clickhouse.Table, jobID string) clickhouse.Table {
	return clickhouse.Table{Database: t.Database, Name: t.Name + "_dray_" + jobID}
}

// publishRows puts the verified rows of a staging table in their place. What was
// done before, by this coordinator or another, is found by the tables' uuids.
func (d *driver) publishRows(ctx context.Context, j *job.Job) error {
	p := j.Frozen.Publish
	if p == nil {
		return nil
	}
	staging := clickhouse.Table{Database: j.Frozen.Database, Name: j.Frozen.Table}
	if err := d.c.Faults.At(fault.Publish); err != nil {
		return err
	}
	var err error
	switch p.Mode {
	case job.PublishReplace:
		err = d.c.ClickHouse.SwapIn(ctx, clickhouse.SwapSpec{
			Target: target(*j), Staging: staging, StagingUUID: p.StagingUUID, TargetUUID: p.TargetUUID,
		})
	case job.PublishPartitions:
		err = d.replacePartitions(ctx, clickhouse.PartitionsSpec{
			Target: target(*j), Staging: staging, StagingUUID: p.StagingUUID, TargetUUID: p.TargetUUID,
		})
	default:
		err = job.WithClass(fmt.Errorf("there is no way to publish called %q", p.Mode), job.Permanent)
	}
	if err != nil {
		return fmt.Errorf("publishing the rows of the job: %w", err)
	}
	if err := d.c.Faults.At(fault.Published); err != nil {
		return err
	}
	j.PublishedAt = time.Now().UTC()
	return nil
}

// replacePartitions publishes by partitions. The staging table is dropped last:
// where it is gone, all was done.
func (d *driver) replacePartitions(ctx context.Context, spec clickhouse.PartitionsSpec) error {
	info, err := d.c.ClickHouse.Describe(ctx, spec.Staging)
	if errors.Is(err, clickhouse.ErrNoTable) || err == nil && info.UUID != spec.StagingUUID {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := d.c.ClickHouse.ReplacePartitions(ctx, spec); err != nil {
		return err
	}
	return d.c.ClickHouse.DropStaging(ctx, spec.Staging, spec.StagingUUID)
}

// discard drops the staging table of a job that came to nothing.
func (d *driver) discard(ctx context.Context, j job.Job) error {
	if j.Frozen == nil || j.Frozen.Publish == nil || !j.PublishedAt.IsZero() {
		return nil
	}
	return d.c.ClickHouse.DropStaging(ctx, clickhouse.Table{Database: j.Frozen.Database, Name: j.Frozen.Table}, j.Frozen.Publish.StagingUUID)
}
