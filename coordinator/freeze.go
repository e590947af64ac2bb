package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"drayage/pkg/allow"
	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/source/kinds"
	"drayage/pkg/stage"
	"drayage/pkg/stage/chain"
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
	// State is where a source of an incremental pipeline goes on; nil: it begins.
	State json.RawMessage
	// Lookups bounds each lookup; zero: DefaultLookups.
	Lookups clickhouse.SnapshotLimit
	Faults  *fault.Set // nil: none
	// Stages and Custom are what this dray was built with beside its own.
	Stages stage.Registry
	Custom source.Registry
	// Allow is what the pipeline may reach; nil: everything.
	Allow *allow.Rules
}

// Frozen is a job's pipeline made ready.
type Frozen struct {
	job.Frozen
	Source source.Source
	Found  []Found // of each target, what was there
}

// Found is what a target was like before the job.
type Found struct {
	Exists bool
	// PartitionKey is an expression; empty where the table has none, or is not there.
	PartitionKey string
	// Difference lists the columns that were added to it, or would be.
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
	p, err := pipeline.Thaw(raw, jobTime, f.Allow) // a copy: secrets are put into it
	if ref := new(pipeline.ReferenceError); errors.As(err, &ref) {
		return nil, mistake(doc.At(ref.Key, problem(ref.Err), hint(ref.Err)))
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = p.Redact(err) }()
	out := &Frozen{Frozen: job.Frozen{Pipeline: raw, JobTime: jobTime}}
	if out.Source, err = f.source(p, doc.Dir, nil); err != nil {
		return nil, sourceError(doc, err)
	}
	if out.Columns, err = out.Source.Columns(ctx, f.engineOf(&p.Source)); err != nil {
		return nil, sourceError(doc, err)
	}
	if len(out.Columns) == 0 {
		return nil, mistake(doc.At("source", "the input has no columns", "declare them with source.columns"))
	}
	if err := f.bound(ctx, doc, p, out); err != nil {
		return nil, err
	}
	ws, err := transform.Prepare(ctx, f.Engine, transform.WorkspaceName("plan", id))
	if err != nil {
		return nil, fmt.Errorf("preparing the transformation: %w", err)
	}
	defer ws.Drop(context.WithoutCancel(ctx))

	look := &looking{Freezer: f, doc: doc, pipeline: p, id: id, workspace: ws}
	defer func() {
		if err != nil {
			look.dropCopies(context.WithoutCancel(ctx))
		}
	}()
	if out.Lookups, err = look.all(ctx); err != nil {
		return nil, err
	}
	if out.Columns, err = ws.Canonical(ctx, out.Columns); err != nil {
		return nil, sqlError(doc, p.All()[0], err)
	}
	if out.Staged, err = f.staged(ctx, doc, p, ws, out.Columns); err != nil {
		return nil, err
	}
	outputs := p.All()
	targets := make([]job.Target, len(outputs))
	for i, o := range outputs {
		checked, err := transform.Check(ctx, ws, o.SQL(), out.Chunk())
		if err != nil {
			return nil, sqlError(doc, o, err)
		}
		targets[i] = job.Target{Selected: checked.Columns, Output: checked.Columns, Rereads: checked.Rereads}
	}
	out.Found = make([]Found, len(outputs))
	defer func() {
		if err != nil && job.ClassOf(err) == job.Permanent {
			f.discard(context.WithoutCancel(ctx), targets)
		}
	}()
	for i, o := range outputs {
		if f.ClickHouse != nil {
			t := targeting{f, doc, o, id, &targets[i], &out.Found[i]}
			if err := t.find(ctx); err != nil {
				return nil, err
			}
			if err := t.alone(targets[:i]); err != nil {
				return nil, err
			}
		}
		t := &targets[i]
		t.Baseline, err = transform.Baseline(ctx, ws, o.SQL(), out.Chunk(), transform.Output{
			Columns: t.Output, From: t.Selected, Provenance: t.Provenance, Job: id,
		})
		if err != nil {
			return nil, sqlError(doc, o, err)
		}
	}
	out.Target, out.Others = targets[0], targets[1:]
	return out, nil
}

// staged are the columns that the pipeline's stages make of those of the source;
// none when it has no stages.
func (f Freezer) staged(ctx context.Context, doc *pipeline.Document, p *pipeline.Pipeline, ws transform.Workspace, columns []job.Column) ([]job.Column, error) {
	if len(p.Stages) == 0 {
		return nil, nil
	}
	stages, err := chain.New(p, f.Stages)
	var staged []job.Column
	if err == nil {
		staged, err = stages.Columns(columns)
	}
	var use *stage.UseError
	if errors.As(err, &use) {
		return nil, mistake(doc.At(fmt.Sprintf("stages[%d]", use.Index), fmt.Sprintf("%s: %s", use.Name, use.Problem), use.Hint))
	}
	if err != nil {
		return nil, err
	}
	canonical, err := ws.Canonical(ctx, staged)
	if job.ClassOf(err) == job.Permanent {
		return nil, mistake(doc.At("stages", fmt.Sprintf("they make columns of which the engine says: %v", err), ""))
	}
	return canonical, err
}

func (f Freezer) source(p *pipeline.Pipeline, dir string, bounds json.RawMessage) (source.Source, error) {
	return kinds.New(p, kinds.Env{Dir: dir, Seats: f.Seats, Bounds: bounds, Custom: f.Custom, Allow: f.Allow})
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
	var unknown *source.UnknownKindError
	if errors.As(err, &unknown) {
		return mistake(doc.At("source.custom.kind", "this dray has no source of the kind "+unknown.Kind, unknown.Hint()))
	}
	if job.ClassOf(err) == job.Permanent {
		return mistake(doc.At("source", problem(err), hint(err)))
	}
	return fmt.Errorf("looking at the source: %w", err)
}

// problem is what is wrong, without the hint of what the operator does not allow.
func problem(err error) string { return strings.TrimSuffix(err.Error(), "; "+hint(err)) }

// hint is what the operator can do about what is not allowed.
func hint(err error) string {
	var refused *job.RefusedError
	if errors.As(err, &refused) {
		return refused.Hint()
	}
	return ""
}

// sqlError gives a mistake in the SELECT its place in the file.
func sqlError(doc *pipeline.Document, o pipeline.Output, err error) error {
	var e *transform.SQLError
	if !errors.As(err, &e) {
		return err
	}
	return mistake(doc.SQLError(o.Key("transform"), e.Line, e.Column, e.Problem, e.Hint))
}
