package coordinator

import (
	"context"
	"errors"
	"fmt"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
)

// targeting finds out about the table of one output.
type targeting struct {
	Freezer
	doc    *pipeline.Document
	output pipeline.Output
	id     string // of the job
	out    *job.Target
	found  *Found
}

// at is a mistake at one of the output's keys.
func (t targeting) at(key, problem, hint string) *pipeline.Error {
	return t.doc.At(t.output.Key(key), problem, hint)
}

// find finds or makes the table, on each of its servers, and takes its types
// over.
func (t targeting) find(ctx context.Context) error {
	table, err := clickhouse.ParseTable(t.output.Load.Table, t.ClickHouse.Database())
	if err != nil {
		return mistake(t.at("load.table", err.Error(), ""))
	}
	if t.output.Load.Sharded {
		return t.findShards(ctx, table)
	}
	return t.findOne(ctx, table)
}

// findOne finds or makes the table on one server.
func (t targeting) findOne(ctx context.Context, table clickhouse.Table) error {
	l, out := t.output.Load, t.out
	out.Database, out.Table = table.Database, table.Name
	info, err := t.ClickHouse.Describe(ctx, table)
	switch {
	case err == nil:
		t.found.Exists = true
	case !errors.Is(err, clickhouse.ErrNoTable):
		return fmt.Errorf("looking for the table %s: %w", table, err)
	case !l.Creates():
		return mistake(t.at("load.table", fmt.Sprintf("the table %s does not exist", table),
			`create it, or let the job do so: create: "ENGINE = MergeTree ORDER BY …"`))
	case !t.Create:
		out.Provenance = true
		return nil
	default:
		engineClause := l.Create
		if engineClause == "" {
			engineClause = l.Engine
		}
		spec := clickhouse.CreateSpec{
			Table: table, Columns: out.Selected, Engine: engineClause,
			OrderBy: string(l.OrderBy), PartitionBy: string(l.PartitionBy), TTL: l.TTL, Settings: l.Settings, Codecs: l.Codecs, OnCluster: l.OnCluster,
		}
		key := "load.create"
		if l.Create == "" {
			key = "load"
		}
		if err := t.judge(ctx, key, spec); err != nil {
			return err
		}
		if err := t.ClickHouse.Create(ctx, spec); err != nil {
			return t.refused(key, fmt.Errorf("creating the table %s: %w", table, err))
		}
	}
	if t.found.Exists && l.Evolve == pipeline.EvolveAdd {
		done, err := t.evolve(ctx, info)
		if done || err != nil {
			return err
		}
	}
	if info, err = t.ClickHouse.CheckTarget(ctx, table, out.Selected); err != nil {
		return t.refused("load.table", err)
	}
	if l.Mode == pipeline.ModeUpsert {
		if err := info.CheckUpsert(out.Selected); err != nil {
			return t.refused("load.mode", err)
		}
	}
	t.take(info)
	if !t.Create || t.Append {
		return nil
	}
	switch l.Mode {
	case pipeline.ModeReplace:
		return t.stage(ctx, info, job.PublishReplace)
	case pipeline.ModePartitions:
		if info.PartitionKey == "" {
			return mistake(t.at("load.mode", fmt.Sprintf("the table %s has no partitions", table), "write mode: replace, or make the table with partition_by"))
		}
		return t.stage(ctx, info, job.PublishPartitions)
	}
	return nil
}

// alone refuses a table that another output has: its name may be written in two
// ways.
func (t targeting) alone(others []job.Target) error {
	database, name := t.out.Holds(true)
	for _, o := range others {
		if d, n := o.Holds(true); d == database && n == name {
			return mistake(t.at("load.table", fmt.Sprintf("two outputs go to the table %s.%s", d, n), "make them one, with UNION ALL in its SELECT"))
		}
	}
	return nil
}

// take takes over what a table is like.
func (t targeting) take(info clickhouse.TableInfo) {
	out := t.out
	t.found.PartitionKey = info.PartitionKey
	types := map[string]string{}
	for _, c := range info.Columns {
		types[c.Name] = c.Type
	}
	out.Output = make([]job.Column, len(out.Selected))
	for i, c := range out.Selected {
		out.Output[i] = job.Column{Name: c.Name, Type: types[c.Name]}
	}
	out.Provenance = info.HasProvenance() && info.Countable()
	out.Views = len(info.Views) > 0
}

// evolve adds the columns that a table lacks. Where nothing may be changed it
// notes them, and reports true: the table can not be checked as it will be.
func (t targeting) evolve(ctx context.Context, info clickhouse.TableInfo) (bool, error) {
	l, out := t.output.Load, t.out
	diff, err := t.ClickHouse.Compare(ctx, info, out.Selected)
	if err != nil {
		return false, fmt.Errorf("comparing the SELECT with the table %s: %w", info.Table, err)
	}
	if err := diff.Refused(); err != nil {
		return false, t.refused("load.evolve", err)
	}
	if len(diff.Added) == 0 {
		return false, nil
	}
	if t.found.Difference = diff.String(); !t.Create {
		t.take(info)
		for i, c := range out.Selected { // as it will be
			if out.Output[i].Type == "" {
				out.Output[i] = c
			}
		}
		return true, nil
	}
	if _, err := t.ClickHouse.AddColumns(ctx, info.Table, diff.Added, l.OnCluster); err != nil {
		return false, t.refused("load.evolve", err)
	}
	return false, nil
}

// stage makes the staging table of a job whose rows are published together.
func (t targeting) stage(ctx context.Context, info clickhouse.TableInfo, mode string) error {
	out := t.out
	staging := stagingName(info.Table, t.id)
	made, err := t.ClickHouse.CreateLike(ctx, staging, info.Table)
	if err != nil {
		return t.refused("load.mode", fmt.Errorf("making a staging table: %w", err))
	}
	t.take(made)
	out.Database, out.Table = staging.Database, staging.Name
	out.Publish = &job.Publish{
		Mode: mode, Database: info.Table.Database, Table: info.Table.Name,
		TargetUUID: info.UUID, StagingUUID: made.UUID,
	}
	return nil
}

// discard drops the staging tables of a job that can not be.
func (f Freezer) discard(ctx context.Context, targets []job.Target) {
	for _, t := range targets {
		if t.Publish != nil {
			// Else it stays, empty, under the name of a job that failed.
			_ = f.ClickHouse.DropStaging(ctx, clickhouse.Table{Database: t.Database, Name: t.Table}, t.Publish.StagingUUID)
		}
	}
}

// refused gives ClickHouse's refusal of the target the place of its key.
func (t targeting) refused(key string, err error) error {
	if job.ClassOf(err) != job.Permanent {
		return err
	}
	return mistake(t.at(key, err.Error(), ""))
}
