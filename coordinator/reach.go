package coordinator

import (
	"context"
	"errors"

	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/source/kinds"
	"drayage/pkg/transform"
)

// engineOf is the engine for a source to ask: of one whose SQL is the pipeline's,
// it judges what is asked first.
func (f Freezer) engineOf(s *pipeline.Source) source.Engine {
	if f.Allow == nil || s.Query == nil && s.Generate == nil {
		return f.Engine
	}
	field := "sql"
	if s.Generate != nil {
		field = "select"
	}
	return &judging{reach: f.reach(), engine: f.Engine, field: field}
}

func (f Freezer) reach() transform.Reach { return transform.Reach{Engine: f.Engine, Rules: f.Allow} }

// judging describes relations that may be read.
type judging struct {
	reach  transform.Reach
	engine *engine.Client
	field  string // of the source, that has the SQL
}

// Describe implements source.Engine.
func (j *judging) Describe(ctx context.Context, relation string, settings map[string]string) ([]job.Column, error) {
	settings, err := j.reach.Judge(ctx, relation, settings)
	if err != nil {
		return nil, j.refused(err)
	}
	return j.engine.Describe(ctx, relation, settings)
}

// refused gives what may not be read the place of its key.
func (j *judging) refused(err error) error {
	if refused := new(job.RefusedError); errors.As(err, &refused) {
		return job.WithClass(source.FieldErrors{kinds.Refused(j.field, refused)}, job.Permanent)
	}
	return err
}

// judge refuses what the clause of a new table would do beside making it: rows of
// its own and, of a pipeline that may not reach everything, a disk of its own and
// functions that read.
func (t targeting) judge(ctx context.Context, key string, spec clickhouse.CreateSpec) error {
	statement, err := spec.SQL()
	if err != nil {
		return nil //nolint:nilerr // Create says it better
	}
	made, err := transform.Created(ctx, t.Engine, statement)
	problem := ""
	switch {
	case errors.As(err, new(*transform.SQLError)) && t.Allow != nil:
		problem = err.Error()
	case errors.As(err, new(*transform.SQLError)):
		return nil // the server says it better, and may know more than the engine
	case err != nil:
		return err
	case made.Rows:
		problem = "the clause says more than how the table is made, such as AS SELECT: its rows are those of the chunks"
	case t.Allow != nil && made.Reads != "":
		problem = made.Reads + "() would have the server read something for the table"
	case t.Allow != nil && made.Disk:
		problem = "a table of a pipeline may not bring a disk of its own; storage_policy names those of the server"
	}
	if problem == "" {
		return nil
	}
	return mistake(t.at(key, problem, ""))
}
