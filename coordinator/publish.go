package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
)

// stagingName is the table in which the rows of a job wait to be published. It is
// of that job alone.
func stagingName(t clickhouse.Table, jobID string) clickhouse.Table {
	return clickhouse.Table{Database: t.Database, Name: t.Name + "_dray_" + jobID}
}

// publishRows puts the verified rows of staging tables in their place. What was
// done before, by this coordinator or another, is found by the tables' uuids.
func (d *driver) publishRows(ctx context.Context, j *job.Job) (err error) {
	if !j.Frozen.Publishes() {
		return nil
	}
	ctx, end := d.c.measure(ctx, metrics.Publish, trace.Of{Job: j.ID, Pipeline: j.Name})
	defer func() { end(err) }()
	if err := d.c.Faults.At(fault.Publish); err != nil {
		return err
	}
	for _, t := range j.Frozen.Targets() {
		if err := d.publishTarget(ctx, t); err != nil {
			return fmt.Errorf("publishing the rows of the job: %w", err)
		}
	}
	if err := d.c.Faults.At(fault.Published); err != nil {
		return err
	}
	j.PublishedAt = time.Now().UTC()
	return nil
}

func (d *driver) publishTarget(ctx context.Context, t job.Target) error {
	p := t.Publish
	if p == nil {
		return nil
	}
	target := clickhouse.Table{Database: p.Database, Name: p.Table}
	staging := clickhouse.Table{Database: t.Database, Name: t.Table}
	switch p.Mode {
	case job.PublishReplace:
		return d.c.ClickHouse.SwapIn(ctx, clickhouse.SwapSpec{
			Target: target, Staging: staging, StagingUUID: p.StagingUUID, TargetUUID: p.TargetUUID,
		})
	case job.PublishPartitions:
		return d.replacePartitions(ctx, clickhouse.PartitionsSpec{
			Target: target, Staging: staging, StagingUUID: p.StagingUUID, TargetUUID: p.TargetUUID,
		})
	}
	return job.WithClass(fmt.Errorf("there is no way to publish called %q", p.Mode), job.Permanent)
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

// discard drops the staging tables of a job that came to nothing.
func (d *driver) discard(ctx context.Context, j job.Job) error {
	if j.Frozen == nil || !j.PublishedAt.IsZero() {
		return nil
	}
	for _, t := range j.Frozen.Targets() {
		if t.Publish == nil {
			continue
		}
		if err := d.c.ClickHouse.DropStaging(ctx, clickhouse.Table{Database: t.Database, Name: t.Table}, t.Publish.StagingUUID); err != nil {
			return err
		}
	}
	return nil
}
