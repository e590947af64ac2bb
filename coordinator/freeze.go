package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/source/kinds"
	"drayage/pkg/transform"
)

// Freezer finds out everything a job depends on beside its inputs: the columns
// of the source, those of the SELECT, and the target.
type Freezer struct {
	Engine     *engine.Client
	ClickHouse *clickhouse.Client // nil: the target is not looked at
	// Create makes the target when it does not exist. Without it an absent
	// target is only checked for a create clause.
	Create bool
	// Append says that the rows are added to the target whatever the mode is:
	// those that another job has left out.
	Append bool
	Seats  source.Seats // for the source's connections; nil: unbounded
}

// Frozen is a job's pipeline made ready.
type Frozen struct {
	job.Frozen
	Source source.Source
	Exists bool // whether the target was there before
	// Difference lists the columns that were added to the target, or would be.
	Difference string
}

// Freeze reads the pipeline's surroundings. A mistake of the pipeline is of
// type pipeline.Errors, with its place; it and everything else that trying
// again can not mend is marked job.Permanent. The pipeline of doc is not
// changed.
func (f Freezer) Freeze(ctx context.Context, doc *pipeline.Document, id string, jobTime time.Time) (_ *Frozen, err error) {
	raw, err := json.Marshal(doc.Pipeline)
	if err != nil {
		return nil, fmt.Errorf("encoding the pipeline: %w", err)
	}
	p, err := pipeline.Thaw(raw, jobTime) // a copy: secrets are put into it
	if err != nil {
		return nil, err
	}
	defer func() { err = p.Redact(err) }()
	out := &Frozen{Frozen: job.Frozen{Pipeline: raw, JobTime: jobTime}}
	if out.Source, err = kinds.New(p, kinds.Env{Dir: doc.Dir, Seats: f.Seats}); err != nil {
		return nil, sourceError(doc, err)
	}
	if out.Columns, err = out.Source.Columns(ctx, f.Engine); err != nil {
		return nil, sourceError(doc, err)
	}
	if len(out.Columns) == 0 {
		return nil, mistake(doc.At("source", "the input has no columns", "declare them with source.columns"))
	}
	for name, l := range p.Lookups {
		if err := lookupExists(doc, name, l.Path); err != nil {
			return nil, err
		}
	}
	ws, err := transform.Prepare(ctx, f.Engine, transform.WorkspaceName("plan", id), doc.Dir, p.Lookups)
	if err != nil {
		return nil, fmt.Errorf("preparing the transformation: %w", err)
	}
	defer ws.Drop(context.WithoutCancel(ctx))

	if out.Columns, err = ws.Canonical(ctx, out.Columns); err != nil {
		return nil, sqlError(doc, err)
	}
	sel := p.SQL()
	checked, err := transform.Check(ctx, ws, sel, out.Columns)
	if err != nil {
		return nil, sqlError(doc, err)
	}
	out.Selected, out.Output, out.Rereads = checked.Columns, checked.Columns, checked.Rereads
	if f.ClickHouse != nil {
		if err := f.target(ctx, doc, p, id, out); err != nil {
			return nil, err
		}
	}
	out.Baseline, err = transform.Baseline(ctx, ws, sel, out.Columns, transform.Output{
		Columns: out.Output, From: out.Selected, Provenance: out.Provenance, Job: id,
	})
	if err != nil {
		return nil, sqlError(doc, err)
	}
	return out, nil
}

// target finds or makes the table and takes its types over.
func (f Freezer) target(ctx context.Context, doc *pipeline.Document, p *pipeline.Pipeline, id string, out *Frozen) error {
	table, err := clickhouse.ParseTable(p.Load.Table, f.ClickHouse.Database())
	if err != nil {
		return mistake(doc.At("load.table", err.Error(), ""))
	}
	out.Database, out.Table = table.Database, table.Name
	info, err := f.ClickHouse.Describe(ctx, table)
	switch {
	case err == nil:
		out.Exists = true
	case !errors.Is(err, clickhouse.ErrNoTable):
		return fmt.Errorf("looking for the table %s: %w", table, err)
	case !p.Load.Creates():
		return mistake(doc.At("load.table", fmt.Sprintf("the table %s does not exist", table),
			`create it, or let the job do so: create: "ENGINE = MergeTree ORDER BY …"`))
	case !f.Create:
		out.Provenance = true
		return nil
	default:
		l := p.Load
		engineClause := l.Create
		if engineClause == "" {
			engineClause = l.Engine
		}
		err := f.ClickHouse.Create(ctx, clickhouse.CreateSpec{
			Table: table, Columns: out.Selected, Engine: engineClause,
			OrderBy: l.OrderBy, PartitionBy: l.PartitionBy, TTL: l.TTL, Settings: l.Settings, Codecs: l.Codecs, OnCluster: l.OnCluster,
		})
		if err != nil {
			key := "load.create"
			if l.Create == "" {
				key = "load"
			}
			return targetError(doc, key, fmt.Errorf("creating the table %s: %w", table, err))
		}
	}
	if out.Exists && p.Load.Evolve == pipeline.EvolveAdd {
		done, err := f.evolve(ctx, doc, p, info, out)
		if done || err != nil {
			return err
		}
	}
	if info, err = f.ClickHouse.CheckTarget(ctx, table, out.Selected); err != nil {
		return targetError(doc, "load.table", err)
	}
	if p.Load.Mode == pipeline.ModeUpsert {
		if err := info.CheckUpsert(out.Selected); err != nil {
			return targetError(doc, "load.mode", err)
		}
	}
	f.take(info, out)
	if !f.Create || f.Append {
		return nil
	}
	switch p.Load.Mode {
	case pipeline.ModeReplace:
		return f.stage(ctx, doc, info, id, job.PublishReplace, out)
	case pipeline.ModePartitions:
		if info.PartitionKey == "" {
			return mistake(doc.At("load.mode", fmt.Sprintf("the table %s has no partitions", table), "write mode: replace, or make the table with partition_by"))
		}
		return f.stage(ctx, doc, info, id, job.PublishPartitions, out)
	}
	return nil
}

// take takes over what a table is like.
func (f Freezer) take(info clickhouse.TableInfo, out *Frozen) {
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
func (f Freezer) evolve(ctx context.Context, doc *pipeline.Document, p *pipeline.Pipeline, info clickhouse.TableInfo, out *Frozen) (bool, error) {
	diff, err := f.ClickHouse.Compare(ctx, info, out.Selected)
	if err != nil {
		return false, fmt.Errorf("comparing the SELECT with the table %s: %w", info.Table, err)
	}
	if err := diff.Refused(); err != nil {
		return false, targetError(doc, "load.evolve", err)
	}
	if len(diff.Added) == 0 {
		return false, nil
	}
	if out.Difference = diff.String(); !f.Create {
		f.take(info, out)
		for i, c := range out.Selected { // as it will be
			if out.Output[i].Type == "" {
				out.Output[i] = c
			}
		}
		return true, nil
	}
	if _, err := f.ClickHouse.AddColumns(ctx, info.Table, diff.Added, p.Load.OnCluster); err != nil {
		return false, targetError(doc, "load.evolve", err)
	}
	return false, nil
}

// stage makes the staging table of a job whose rows are published together.
func (f Freezer) stage(ctx context.Context, doc *pipeline.Document, info clickhouse.TableInfo, id, mode string, out *Frozen) error {
	staging := stagingName(info.Table, id)
	made, err := f.ClickHouse.CreateLike(ctx, staging, info.Table)
	if err != nil {
		return targetError(doc, "load.mode", fmt.Errorf("making a staging table: %w", err))
	}
	f.take(made, out)
	out.Database, out.Table = staging.Database, staging.Name
	out.Publish = &job.Publish{
		Mode: mode, Database: info.Table.Database, Table: info.Table.Name,
		TargetUUID: info.UUID, StagingUUID: made.UUID,
	}
	return nil
}

// mistake marks an error of the pipeline.
func mistake(e *pipeline.Error) error {
	return job.WithClass(pipeline.Errors{e}, job.Permanent)
}

// sourceError gives an error of the source the place of its key.
func sourceError(doc *pipeline.Document, err error) error {
	var field *source.FieldError
	if errors.As(err, &field) {
		key := "source." + doc.Pipeline.Source.Kind() + "." + field.Field
		if field.Field == "columns" || field.Field == "chunk" {
			key = "source." + field.Field
		}
		return mistake(doc.At(key, field.Problem, field.Hint))
	}
	if job.ClassOf(err) == job.Permanent {
		return mistake(doc.At("source", err.Error(), ""))
	}
	return fmt.Errorf("looking at the source: %w", err)
}

// sqlError gives a mistake in the SELECT its place in the file.
func sqlError(doc *pipeline.Document, err error) error {
	var e *transform.SQLError
	if !errors.As(err, &e) {
		return err
	}
	return mistake(doc.SQLError("transform", e.Line, e.Column, e.Problem, e.Hint))
}

// targetError gives ClickHouse's refusal of the target the place of its key.
func targetError(doc *pipeline.Document, key string, err error) error {
	if job.ClassOf(err) != job.Permanent {
		return err
	}
	return mistake(doc.At(key, err.Error(), ""))
}

// lookupExists reports a lookup that is not there with its place.
func lookupExists(doc *pipeline.Document, name, path string) error {
	if !filepath.IsAbs(path) {
		path = filepath.Join(doc.Dir, path)
	}
	if _, err := os.Stat(path); err != nil {
		return mistake(doc.At("lookups."+name, fmt.Sprintf("the file can not be read: %s", err), ""))
	}
	return nil
}
