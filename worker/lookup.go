package worker

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/transform"
)

// loadLookups puts the lookups of a job into its workspace, as they were when
// it was planned. One that is not any more is transform.ErrChanged.
func (w *Worker) loadLookups(ctx context.Context, ws transform.Workspace, j job.Job, p *pipeline.Pipeline) error {
	for _, name := range slices.Sorted(maps.Keys(p.Lookups)) {
		frozen, known := j.Frozen.Lookups[name]
		if !known {
			return job.WithClass(fmt.Errorf("the lookup %s was not planned with the job", name), job.Permanent)
		}
		if err := w.loadLookup(ctx, ws, j, name, p.Lookups[name], frozen); err != nil {
			return fmt.Errorf("loading the lookup %s: %w", name, err)
		}
	}
	return nil
}

func (w *Worker) loadLookup(ctx context.Context, ws transform.Workspace, j job.Job, name string, spec pipeline.Lookup, frozen job.Lookup) error {
	var loaded job.Lookup
	var err error
	from := ""
	if frozen.Copied() {
		s := clickhouse.Snapshot{
			Table: clickhouse.Table{Database: frozen.Database, Name: frozen.Table}, UUID: frozen.UUID, Job: j.ID, Lookup: name,
		}
		from = "the table " + s.Table.String()
		loaded, err = ws.LoadNative(ctx, name, frozen.Columns, func(to io.Writer) error {
			return w.ch.ReadSnapshot(ctx, s, frozen.Columns, to)
		})
	} else {
		path := transform.LookupPath(j.Submission.Dir, spec.Path)
		from = "the file " + path
		loaded, err = ws.LoadFile(ctx, name, transform.LookupFile{Path: path, Allow: w.allow, Format: spec.Format, Columns: spec.Columns})
	}
	if err != nil {
		return err
	}
	return transform.SameLookup(frozen, loaded, from)
}
