package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"drayage/coordinator"
	"drayage/coordinator/api"
	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
)

// Trial tries pipelines out for those who submit them over HTTP. It implements
// api.Trier.
type Trial struct {
	Config     Config
	ClickHouse *clickhouse.Client // looked at, never written to
	Engine     *engine.Client     // of the coordinator: it infers schemas and checks SQL
	Log        zerolog.Logger
}

// Bounds of a trial.
const (
	previewTable  = "preview"
	previewChunk  = pipeline.Size(1 << 20) // of input, where it can be cut
	previewMemory = 1 << 30                // bytes of each of its two engines
	maxPreview    = 4 << 20                // bytes of rows
	shownRejects  = 5
	shownRuns     = 3
)

// Validate implements api.Trier.
func (t Trial) Validate(ctx context.Context, s job.Submission) (api.Validation, error) {
	doc, frozen, err := t.freeze(ctx, s)
	if err != nil {
		return api.Validation{}, err
	}
	v := api.Validation{
		Name: doc.Pipeline.Name, Valid: true, Columns: frozen.Columns, Staged: frozen.Staged,
		EstimatedBytes: frozen.Source.Size(ctx), Outputs: []api.Intended{},
	}
	outputs := doc.Pipeline.All()
	for i, target := range frozen.Targets() {
		v.Outputs = append(v.Outputs, api.Intended{
			SQL: outputs[i].SQL(), Database: target.Database, Table: target.Table,
			TableExists: frozen.Found[i].Exists, Difference: frozen.Found[i].Difference, Columns: target.Output,
		})
	}
	if doc.Pipeline.Schedule == nil {
		return v, nil
	}
	table, err := doc.Pipeline.Schedule.Timetable()
	if err != nil {
		return v, err
	}
	for at := table.Next(time.Now()); !at.IsZero() && len(v.NextRuns) < shownRuns; at = table.Next(at) {
		v.NextRuns = append(v.NextRuns, at)
	}
	return v, nil
}

// freeze finds out what a job of the submission would depend on.
func (t Trial) freeze(ctx context.Context, s job.Submission) (*pipeline.Document, *coordinator.Frozen, error) {
	doc, err := pipeline.Parse(s.Pipeline, s.File, s.Dir, s.Params)
	if err != nil {
		return nil, nil, err
	}
	frozen, err := coordinator.Freezer{
		Engine: t.Engine, ClickHouse: t.ClickHouse, Stages: t.Config.Extensions.Stages, Custom: t.Config.Extensions.Sources,
		Allow: t.Config.Rules,
	}.Freeze(ctx, doc, "validate", time.Now().UTC())
	return doc, frozen, doc.Pipeline.Redact(err)
}

// Preview implements api.Trier.
func (t Trial) Preview(ctx context.Context, s job.Submission, rows int) (api.Preview, error) {
	// Looked at under its own text first, so that mistakes have their place.
	doc, _, err := t.freeze(ctx, s)
	if err != nil {
		return api.Preview{}, err
	}
	v := api.Preview{Name: doc.Pipeline.Name, Outputs: []api.PreviewOutput{}}
	p := Scratched(*doc.Pipeline, previewTable, Unsorted)
	p.Source.Chunk = min(p.Source.Chunk, previewChunk)
	cfg := t.Config
	for _, memory := range []*int64{&cfg.Engine.Memory, &cfg.Engine.DataMemory} {
		if *memory == 0 || *memory > previewMemory {
			*memory = previewMemory
		}
	}
	cfg.Worker.Slots = 1
	err = Scratch(ctx, cfg, t.Log, func(stack *Stack) error {
		j, err := stack.Try(ctx, p, doc.File, doc.Dir)
		if err != nil {
			return doc.Pipeline.Redact(err)
		}
		v.Totals = j.Totals
		for i, o := range doc.Pipeline.All() {
			out, err := beginning(ctx, stack.ClickHouse, ScratchTable(previewTable, i), rows)
			if err != nil {
				return fmt.Errorf("reading the rows: %w", err)
			}
			out.Table = o.Load.Table
			v.Outputs = append(v.Outputs, out)
		}
		return stack.ClickHouse.Rejects(ctx, clickhouse.RejectFilter{Job: j.ID, Limit: shownRejects}, func(r clickhouse.RejectRow) error {
			v.Rejects = append(v.Rejects, api.PreviewReject{Column: r.Column, Reason: r.Reason, Raw: r.Raw[:min(len(r.Raw), maxPreview/shownRejects)]})
			return nil
		})
	})
	return v, err
}

// beginning reads the first rows of a table.
func beginning(ctx context.Context, ch *clickhouse.Client, table string, rows int) (out api.PreviewOutput, err error) {
	text := bounded{left: maxPreview}
	query := fmt.Sprintf("SELECT * EXCEPT (_job, _chunk) FROM %s LIMIT %d", table, rows)
	if err := ch.Query(ctx, query, "JSONCompact", &text); err != nil {
		return out, err
	}
	var found struct {
		Meta []job.Column `json:"meta"`
		Data [][]any      `json:"data"`
	}
	decode := json.NewDecoder(&text.Buffer)
	decode.UseNumber() // as they are written
	if err := decode.Decode(&found); err != nil {
		return out, err
	}
	out.Columns, out.Rows = found.Meta, found.Data
	return out, nil
}

// bounded is a buffer that refuses more than so many bytes.
type bounded struct {
	bytes.Buffer
	left int
}

var errWide = errors.New("the rows are too large to be shown; ask for fewer")

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errWide
	}
	return b.Buffer.Write(p)
}
