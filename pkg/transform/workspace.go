package transform

import (
	"context"
	"fmt"
	"slices"

	"drayage/pkg/engine"
	"drayage/pkg/job"
)

// Workspace is a job's database in an engine. It holds the job's lookups and
// is where its SELECT runs, so that a lookup is found by its bare name.
type Workspace struct {
	Database string
	eng      *engine.Client
}

// WorkspaceName is the database of a job in an engine, for one use of it: the
// coordinator and the worker of one process share an engine and must not
// share a workspace.
func WorkspaceName(use, jobID string) string {
	return "dray_" + use + "_" + jobID
}

// Prepare makes the workspace anew, without lookups.
func Prepare(ctx context.Context, eng *engine.Client, database string) (Workspace, error) {
	w := Workspace{Database: database, eng: eng}
	db := Identifier(database)
	for _, sql := range []string{"DROP DATABASE IF EXISTS " + db, "CREATE DATABASE " + db + " ENGINE = Atomic"} {
		if _, err := eng.Exec(ctx, engine.Statement{SQL: sql}); err != nil {
			return w, fmt.Errorf("making the job's workspace: %w", err)
		}
	}
	return w, nil
}

// Drop removes the workspace. An engine that is gone took it along, so an
// error is of no consequence.
func (w Workspace) Drop(ctx context.Context) {
	_, _ = w.eng.Exec(ctx, engine.Statement{SQL: "DROP DATABASE IF EXISTS " + Identifier(w.Database)})
}

// Canonical returns cols with their types as the engine writes them: BIGINT is
// Int64. Strict knows types under these names only.
func (w Workspace) Canonical(ctx context.Context, cols []job.Column) ([]job.Column, error) {
	flat, err := w.describe(ctx, Nothing(cols).Relation)
	if err != nil {
		return nil, fmt.Errorf("asking the engine for the types of the columns: %w", err)
	}
	types := make(map[string]string, len(flat))
	for _, c := range flat {
		types[c.Name] = c.Type
	}
	out := slices.Clone(cols)
	for i, c := range out {
		if typ, ok := types[c.Name]; ok { // a Nested is described as its parts
			out[i].Type = typ
		}
	}
	return out, nil
}
