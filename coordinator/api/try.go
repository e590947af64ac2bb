package api

import (
	"context"
	"time"

	"drayage/pkg/job"
)

// Trier tries pipelines out. Package local has one over engines of its own.
type Trier interface {
	// Validate finds out what a job of the submission would depend on, and
	// writes nothing. Mistakes are pipeline.Errors.
	Validate(ctx context.Context, s job.Submission) (Validation, error)
	// Preview carries the first chunk of the submission into a ClickHouse that
	// is thrown away, and returns at most rows rows of each output.
	Preview(ctx context.Context, s job.Submission, rows int) (Preview, error)
}

// Validation is what a job of a pipeline would depend on.
type Validation struct {
	Name           string       `json:"pipeline"`
	Valid          bool         `json:"valid"` // true: mistakes are errors
	Columns        []job.Column `json:"columns"`
	Staged         []job.Column `json:"staged,omitempty"`
	Outputs        []Intended   `json:"outputs"`
	EstimatedBytes int64        `json:"estimated_bytes"` // of the input; 0: it is not known
	NextRuns       []time.Time  `json:"next_runs,omitempty"`
}

// Intended is an output that a job would have.
type Intended struct {
	SQL         string       `json:"sql"`
	Database    string       `json:"database"`
	Table       string       `json:"table"`
	TableExists bool         `json:"table_exists"`
	Difference  string       `json:"difference,omitempty"` // the columns that would be added to it
	Columns     []job.Column `json:"columns"`
}

// Preview is what came of the first chunk of a pipeline's input.
type Preview struct {
	Name    string          `json:"pipeline"`
	Totals  job.Totals      `json:"totals"` // of that chunk
	Outputs []PreviewOutput `json:"outputs"`
	Rejects []PreviewReject `json:"rejects,omitempty"` // the first that would be rejected
}

// PreviewOutput is the beginning of what an output gives.
type PreviewOutput struct {
	Table   string       `json:"table"` // that the rows would go to
	Columns []job.Column `json:"columns"`
	Rows    [][]any      `json:"rows"` // values as ClickHouse's JSONCompact has them
}

// PreviewReject is a row that would be rejected.
type PreviewReject struct {
	Column string `json:"column,omitempty"`
	Reason string `json:"reason"`
	Raw    string `json:"raw"`
}
