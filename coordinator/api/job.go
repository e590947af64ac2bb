package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
)

// JobRow is a job as lists show it. Its fields have the names and the meaning of
// job.Job's.
type JobRow struct {
	ID     string    `json:"job"`
	Name   string    `json:"pipeline"` // the pipeline's name; empty while it could not be read
	File   string    `json:"file"`     // the name of its file
	State  job.State `json:"state"`
	Error  string    `json:"error,omitempty"`  // why FAILED
	Tables []string  `json:"tables,omitempty"` // where its rows are, or will be; none before it is planned
	Plan   PlanRow   `json:"plan"`
	// Totals are those of the last account, at most DRAY_ACCOUNT_EVERY old while
	// the job runs.
	Totals   job.Totals `json:"totals"`
	Progress Progress   `json:"progress"`
	// Waits say why the job does not go on, or not faster; none when nothing
	// is in its way, and once it has ended.
	Waits       []Wait    `json:"waits,omitempty"`
	Repairs     int       `json:"repairs,omitempty"`
	InFlight    int       `json:"in_flight,omitempty"` // the bound while ClickHouse asks to slow down
	OfJob       string    `json:"of_job,omitempty"`    // the job that this one takes over from
	CreatedAt   time.Time `json:"created_at"`
	StartedAt   time.Time `json:"started_at,omitzero"`
	FinishedAt  time.Time `json:"finished_at,omitzero"`
	UndoneAt    time.Time `json:"undone_at,omitzero"`
	PublishedAt time.Time `json:"published_at,omitzero"`
}

// PlanRow says how far planning is.
type PlanRow struct {
	Chunks   uint64 `json:"chunks"` // planned so far, replacements among them
	Inputs   uint64 `json:"inputs"`
	Bytes    int64  `json:"bytes"` // of the input, as well as that is known; 0: it is not
	Complete bool   `json:"complete"`
}

// Progress is how far a job is, as of the time that it was asked for.
type Progress struct {
	Chunks uint64 `json:"chunks"` // with an outcome, of PlanRow.Chunks
	// Fraction is between 0 and 1, by bytes or, where the size of the input is
	// not known, by the chunks of a complete plan; absent when neither is.
	Fraction       *float64 `json:"fraction,omitempty"`
	Seconds        float64  `json:"seconds"` // since it started, or that it took
	RowsPerSecond  float64  `json:"rows_per_second"`
	BytesPerSecond float64  `json:"bytes_per_second"`
	// ETASeconds is what the rest takes at the rate so far; absent when that can
	// not be told.
	ETASeconds *float64 `json:"eta_seconds,omitempty"`
}

// progressOf computes the progress of a job at the time now.
func progressOf(j job.Job, now time.Time) Progress {
	p := Progress{
		Chunks: j.Totals.Outcomes(), Seconds: j.Elapsed(now).Seconds(),
		RowsPerSecond: j.RowsPerSecond(now), BytesPerSecond: j.BytesPerSecond(now),
	}
	if left, known := j.Remaining(now); known {
		s := left.Seconds()
		p.ETASeconds = &s
	}
	fraction := -1.0
	switch whole := j.InputBytes(); {
	case j.State == job.Done || j.State == job.DoneWithRejects:
		fraction = 1
	case whole > 0:
		fraction = min(1, float64(j.Totals.BytesRead)/float64(whole))
	case j.Plan.Complete && j.Plan.Total() > 0:
		fraction = min(1, float64(j.Totals.Outcomes())/float64(j.Plan.Total()))
	}
	if fraction >= 0 {
		p.Fraction = &fraction
	}
	return p
}

// rowOf makes the row of a job, but for what it waits for.
func rowOf(j job.Job) JobRow {
	r := JobRow{
		ID: j.ID, Name: j.Name, File: j.Submission.File, State: j.State, Error: j.Error,
		Plan:   PlanRow{j.Plan.Total(), j.Plan.Inputs, j.InputBytes(), j.Plan.Complete},
		Totals: j.Totals, Progress: progressOf(j, time.Now()), Repairs: j.Repairs, InFlight: j.InFlight,
		CreatedAt: j.CreatedAt, StartedAt: j.StartedAt, FinishedAt: j.FinishedAt, UndoneAt: j.UndoneAt, PublishedAt: j.PublishedAt,
	}
	if j.State.Terminal() {
		r.InFlight = 0
	}
	if j.Frozen != nil {
		for _, t := range coordinator.Tables(j) {
			r.Tables = append(r.Tables, t.String())
		}
	}
	if j.Submission.Replay != nil {
		r.OfJob = j.Submission.Replay.Job
	}
	return r
}

// now brings the progress of a row that was made a while ago up to date: time
// goes on between two accounts.
func (r JobRow) now(now time.Time) JobRow {
	if r.State.Terminal() || r.StartedAt.IsZero() {
		return r
	}
	r.Progress = progressOf(job.Job{
		State: r.State, StartedAt: r.StartedAt, Totals: r.Totals,
		Plan: job.Plan{Chunks: r.Plan.Chunks, Bytes: r.Plan.Bytes, EstimatedBytes: r.Plan.Bytes, Complete: r.Plan.Complete},
	}, now)
	return r
}

// JobView is a job by itself.
type JobView struct {
	JobRow
	// Text is the pipeline as it was submitted, Params the values of its params.
	// Values of keys that hold secrets, and passwords in URLs, are [hidden].
	Text    string            `json:"text"`
	Dir     string            `json:"dir,omitempty"` // what relative paths in it start from
	Params  map[string]string `json:"params,omitempty"`
	Full    bool              `json:"full,omitempty"`
	JobTime time.Time         `json:"job_time,omitzero"` // what ${job_time} stands for
	Outputs []OutputView      `json:"outputs,omitempty"` // none before it is planned
	Columns []job.Column      `json:"columns,omitempty"` // of the source
	Staged  []job.Column      `json:"staged,omitempty"`  // what its stages make of them
	Stages  []string          `json:"stages,omitempty"`  // their names
	Lookups []LookupView      `json:"lookups,omitempty"`
	Proof   *job.Proof        `json:"proof,omitempty"`
	Replay  *ReplayView       `json:"replay,omitempty"` // what it takes over
	Claims  []ClaimView       `json:"claims,omitempty"` // what others have taken over from it
	// Replaced counts chunks that others replace, by reason.
	Replaced map[string]int `json:"replaced,omitempty"`
	Steps    Steps          `json:"steps"`
}

// OutputView is an output of a job: a SELECT and its table.
type OutputView struct {
	SQL        string       `json:"sql"`
	Table      string       `json:"table"` // with its database; where the rows are, or will be
	Mode       string       `json:"mode"`  // one of pipeline's Mode constants
	Columns    []job.Column `json:"columns"`
	Provenance bool         `json:"provenance"` // its rows can be counted by chunk
	Views      bool         `json:"views,omitempty"`
	Shards     []string     `json:"shards,omitempty"`
}

// LookupView is a lookup as it was when the job was planned.
type LookupView struct {
	Name    string       `json:"name"`
	Columns []job.Column `json:"columns"`
	Rows    uint64       `json:"rows"`
	Bytes   int64        `json:"bytes"`
}

// ReplayView says what a job takes over from another.
type ReplayView struct {
	Job    string `json:"of_job"`
	What   string `json:"what"` // one of job's Replay constants
	Chunks int    `json:"chunks"`
}

// ClaimView says what another job has taken over.
type ClaimView struct {
	Job    string    `json:"by_job"`
	What   string    `json:"what"` // one of job's Replay constants
	Chunks int       `json:"chunks"`
	State  job.State `json:"state,omitempty"` // of the other job; empty when its record is gone
}

// Steps are what the time of a job was spent on, in seconds. Transforming and
// loading are summed up over all slots, so they may be more than the job took.
type Steps struct {
	Queued       float64 `json:"queued"`   // from its creation to its start
	Planning     float64 `json:"planning"` // until chunks could begin
	Running      float64 `json:"running"`  // since then, with verification
	Transforming float64 `json:"transforming"`
	Loading      float64 `json:"loading"`
}

// Job is one job, as NATS has it now. ErrNotFound of package queue.
func (s *Service) Job(ctx context.Context, id string) (JobView, error) {
	j, err := s.record(ctx, id)
	if err != nil {
		return JobView{}, err
	}
	row := rowOf(j)
	if row.Waits, err = s.waits(ctx, row, needsOf(j)); err != nil {
		return JobView{}, err
	}
	v := JobView{
		JobRow: row, Text: pipeline.HideSecrets(j.Submission.Pipeline), Dir: j.Submission.Dir, Params: pipeline.HideParams(j.Submission.Params),
		Full: j.Submission.Full, JobTime: j.Submission.JobTime, Proof: j.Proof, Steps: stepsOf(j, time.Now()),
	}
	for _, r := range j.Plan.Replaced {
		if v.Replaced == nil {
			v.Replaced = map[string]int{}
		}
		v.Replaced[r.Reason]++
	}
	if r := j.Submission.Replay; r != nil {
		v.Replay = &ReplayView{r.Job, r.What, len(r.Chunks)}
	}
	for _, c := range j.Claims {
		v.Claims = append(v.Claims, ClaimView{c.Job, c.What, len(c.Chunks), s.board.state(c.Job)})
	}
	if j.Frozen != nil {
		return v, v.freeze(j)
	}
	return v, nil
}

// freeze adds what was found out when the job was planned.
func (v *JobView) freeze(j job.Job) error {
	f := j.Frozen
	v.JobTime, v.Columns, v.Staged = f.JobTime, f.Columns, f.Staged
	p, err := pipeline.Frozen(f.Pipeline)
	if err != nil {
		return err
	}
	for _, s := range p.Stages {
		v.Stages = append(v.Stages, s.Name)
	}
	targets := f.Targets()
	for i, o := range p.All() {
		if i == len(targets) {
			break
		}
		t := targets[i]
		mode := o.Load.Mode
		if mode == "" {
			mode = pipeline.ModeAppend
		}
		v.Outputs = append(v.Outputs, OutputView{pipeline.HideSecrets(o.SQL()), v.Tables[i], mode, t.Output, t.Provenance, t.Views, t.Shards})
	}
	for name, l := range f.Lookups {
		v.Lookups = append(v.Lookups, LookupView{name, l.Columns, l.Rows, l.Bytes})
	}
	slices.SortFunc(v.Lookups, func(a, b LookupView) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func stepsOf(j job.Job, now time.Time) Steps {
	s := Steps{
		Transforming: (time.Duration(j.Totals.TransformMS) * time.Millisecond).Seconds(),
		Loading:      (time.Duration(j.Totals.LoadMS) * time.Millisecond).Seconds(),
	}
	end := now
	if !j.FinishedAt.IsZero() {
		end = j.FinishedAt
	}
	since := func(from, to time.Time) float64 { return max(0, to.Sub(from).Seconds()) }
	if j.StartedAt.IsZero() {
		s.Queued = since(j.CreatedAt, end)
		return s
	}
	s.Queued = since(j.CreatedAt, j.StartedAt)
	if j.Frozen == nil {
		s.Planning = since(j.StartedAt, end)
		return s
	}
	s.Planning, s.Running = since(j.StartedAt, j.Frozen.At), since(j.Frozen.At, end)
	return s
}
