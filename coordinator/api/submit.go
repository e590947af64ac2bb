package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry/metrics"
)

// SubmitRequest asks for a job. Its fields are those of job.Submission.
type SubmitRequest struct {
	// Job is the identifier the job is to have, at most 128 characters of
	// [a-z0-9_-]. The same identifier submitted twice is one job. Empty: it is
	// made from Key or, without one, from the pipeline's name and the time.
	Job      string            `json:"job,omitempty" maxLength:"128" pattern:"^[a-z0-9_-]*$" doc:"the identifier the job is to have; the same one submitted twice is one job"`
	Pipeline string            `json:"pipeline" maxLength:"262144" doc:"the text of the pipeline file, YAML"`
	File     string            `json:"file,omitempty" maxLength:"256" doc:"its name, for messages"`
	Dir      string            `json:"dir,omitempty" maxLength:"4096" doc:"what relative paths in it start from, on the workers"`
	Params   map[string]string `json:"params,omitempty" doc:"values for its params"`
	JobTime  time.Time         `json:"job_time,omitzero" doc:"what ${job_time} stands for; default: the job's creation"`
	Full     bool              `json:"full,omitempty" doc:"an incremental pipeline begins again, as if it had loaded nothing yet"`
	// Key is a client's own name for this submission: with the pipeline's name it
	// makes the identifier. At most one of Job and Key.
	Key string `json:"key,omitempty" maxLength:"128" doc:"the client's name for this submission; with the pipeline's name it makes the job's"`
}

func (r SubmitRequest) submission() job.Submission {
	s := job.Submission{Job: r.Job, Pipeline: r.Pipeline, File: r.File, Dir: r.Dir, Params: r.Params, JobTime: r.JobTime, Full: r.Full}
	if s.File == "" {
		s.File = "pipeline.yaml"
	}
	return s
}

// Submit makes a job, or returns the one that an earlier submission of the same
// identifier, with the same pipeline, params, dir and times, has made; created
// tells which. Another submission under that identifier is a Problem with status
// 409. Mistakes in the pipeline are pipeline.Errors, and no job comes of them.
func (s *Service) Submit(ctx context.Context, r SubmitRequest) (row JobRow, created bool, err error) {
	row, created, err = s.submit(ctx, r)
	switch {
	case s.Metrics == nil:
	case err == nil:
		s.Metrics.Submitted(metrics.Accepted)
	case ProblemOf(err).Status < http.StatusInternalServerError: // the others may ask again
		s.Metrics.Submitted(metrics.Refused)
	}
	return row, created, err
}

func (s *Service) submit(ctx context.Context, r SubmitRequest) (row JobRow, created bool, err error) {
	sub := r.submission()
	doc, err := parse(sub)
	if err != nil {
		return row, false, err
	}
	switch {
	case r.Job != "" && r.Key != "":
		return row, false, badInput("key", "the job has a name already; leave one of the two out")
	case r.Key != "":
		sub.Job = coordinator.KeyID(doc.Pipeline.Name, r.Key)
	case r.Job == "":
		sub.Job = coordinator.NewID(doc.Pipeline.Name, time.Now())
	}
	if !job.ValidID(sub.Job) {
		return row, false, badInput("job", "%q must be 1 to %d characters of [a-z0-9_-]", sub.Job, job.MaxID)
	}
	j, err := s.record(ctx, sub.Job)
	if errors.Is(err, queue.ErrNotFound) {
		created = true
		if err := coordinator.Create(ctx, s.Queue, sub); err != nil {
			return row, false, fmt.Errorf("creating the job: %w", err)
		}
		j, err = s.record(ctx, sub.Job)
	}
	if err != nil {
		return row, false, err
	}
	if !coordinator.SameSubmission(j.Submission, sub) {
		return row, false, &Problem{
			Status: http.StatusConflict, Title: "another submission has this name", Job: j.ID,
			Detail: fmt.Sprintf("job %s, which is %s, was submitted with another pipeline, params or dir", j.ID, j.State),
			Hint:   "take another job or key for what is another submission; the same one again is no mistake",
		}
	}
	return rowOf(j), created, nil
}

// parse reads the pipeline of a submission.
func parse(sub job.Submission) (*pipeline.Document, error) {
	if strings.TrimSpace(sub.Pipeline) == "" {
		return nil, badInput("pipeline", "it is empty; send the text of the pipeline file")
	}
	if len(sub.Pipeline) > pipeline.MaxBytes {
		return nil, &Problem{
			Status: http.StatusRequestEntityTooLarge, Title: "the pipeline is too long",
			Detail: fmt.Sprintf("the pipeline has %d bytes; it may have %d", len(sub.Pipeline), pipeline.MaxBytes), Hint: "move lookups and data out of it",
		}
	}
	return pipeline.Parse(sub.Pipeline, sub.File, sub.Dir, sub.Params)
}

// tryFor bounds the time that a pipeline is tried out for.
const tryFor = 2 * time.Minute

// try runs one trial of a pipeline at a time: whoever comes meanwhile is told so.
func (s *Service) try(ctx context.Context, run func(context.Context, Trier) error) error {
	if s.Trier == nil {
		return &Problem{Status: http.StatusNotImplemented, Title: "pipelines can not be tried out here", Detail: "this coordinator has no engine for it", Hint: "dray validate and dray preview do it on your machine"}
	}
	select {
	case s.trying <- struct{}{}:
		defer func() { <-s.trying }()
	default:
		return &Problem{Status: http.StatusTooManyRequests, Title: "another pipeline is being tried out", Detail: "one pipeline is tried out at a time, and another is", Hint: "ask again in some seconds"}
	}
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	return run(ctx, s.Trier)
}

// Validate checks a pipeline as a job of it would, and writes nothing. Mistakes
// are pipeline.Errors. One pipeline at a time is tried out, for two minutes.
func (s *Service) Validate(ctx context.Context, r SubmitRequest) (v Validation, err error) {
	sub := r.submission()
	if _, err := parse(sub); err != nil {
		return v, err
	}
	err = s.try(ctx, func(ctx context.Context, t Trier) error {
		v, err = t.Validate(ctx, sub)
		return err
	})
	return v, err
}

// Bounds of the rows of a preview.
const (
	defaultPreview = 20
	maxPreview     = 200
)

// Preview carries the first chunk of a pipeline's input into a ClickHouse that is
// thrown away, and returns the first rows of each output: 1 to 200, or 0 for 20.
// Mistakes are pipeline.Errors. One pipeline at a time is tried out, for two
// minutes.
func (s *Service) Preview(ctx context.Context, r SubmitRequest, rows int) (v Preview, err error) {
	if rows < 0 || rows > maxPreview {
		return v, badInput("rows", "it is 1 to %d", maxPreview)
	}
	if rows == 0 {
		rows = defaultPreview
	}
	sub := r.submission()
	if _, err := parse(sub); err != nil {
		return v, err
	}
	err = s.try(ctx, func(ctx context.Context, t Trier) error {
		v, err = t.Preview(ctx, sub, rows)
		return err
	})
	return v, err
}
