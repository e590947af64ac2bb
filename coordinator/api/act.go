package api

import (
	"context"
	"errors"
	"fmt"

	"drayage/coordinator"
	"drayage/pkg/job"
)

// Pause holds a running job: chunks at the workers are finished, no other is
// planned or handed out until Resume. A job that is paused is left as it is. The
// error is a *coordinator.StateError for one that can not be paused.
func (s *Service) Pause(ctx context.Context, id string) (JobRow, error) {
	j, err := coordinator.Pause(ctx, s.Queue, id)
	return s.acted(j, err)
}

// Resume lets a paused job go on. A job that runs, or is about to, is left as it
// is.
func (s *Service) Resume(ctx context.Context, id string) (JobRow, error) {
	j, err := coordinator.Resume(ctx, s.Queue, id)
	var state *coordinator.StateError
	if errors.As(err, &state) && !state.State.Terminal() && state.State != job.Cancelling {
		j, err = s.record(ctx, id) // not paused, and on its way: as good as resumed
	}
	return s.acted(j, err)
}

// Cancel stops a job for good: see coordinator.Cancel. It does not wait until it
// is CANCELLED.
func (s *Service) Cancel(ctx context.Context, id string) (JobRow, error) {
	j, err := coordinator.Cancel(ctx, s.Queue, id)
	return s.acted(j, err)
}

func (s *Service) acted(j job.Job, err error) (JobRow, error) {
	if err != nil {
		return JobRow{}, err
	}
	return rowOf(j), nil
}

// RetryRequest says what of an ended job is to be loaded again, and how.
type RetryRequest struct {
	What string `json:"what,omitempty" enum:"dead,rejects" doc:"dead letters, or rows in quarantine; default dead"`
	coordinator.Choice
	Pipeline string            `json:"pipeline,omitempty" maxLength:"262144" doc:"the text of the mended pipeline; default: as it was submitted"`
	File     string            `json:"file,omitempty" maxLength:"256" doc:"its name, for messages"`
	Dir      string            `json:"dir,omitempty" maxLength:"4096" doc:"what relative paths start from, on the workers; default: as for the old job"`
	Params   map[string]string `json:"params,omitempty" doc:"values for some of its params; the others are as they were"`
}

// Replayed says which job loads again what another has left.
type Replayed struct {
	Job    string `json:"job"` // empty: there was nothing to take over
	Of     string `json:"of_job"`
	What   string `json:"what"` // one of job's Replay constants
	Chunks int    `json:"chunks"`
}

// Retry has a new job load what an ended one has left: dead letters, those that
// the choice lets through, or the rows in quarantine. What another job has taken
// over is left out, and asking twice is asking once. The error is a
// *coordinator.StateError before the old job has ended.
func (s *Service) Retry(ctx context.Context, id string, r RetryRequest) (Replayed, error) {
	if r.What == "" {
		r.What = job.ReplayDead
	}
	done := Replayed{Of: id, What: r.What}
	old, err := s.record(ctx, id)
	if err != nil {
		return done, err
	}
	if !old.State.Terminal() {
		return done, job.WithClass(&coordinator.StateError{Job: id, State: old.State, What: "be replayed before it has ended"}, job.Permanent)
	}
	chunks, err := s.toRetry(ctx, old, r)
	if err != nil || len(chunks) == 0 {
		return done, err
	}
	if r.Pipeline != "" && r.File == "" {
		r.File = old.Submission.File
	}
	sub, err := coordinator.PrepareReplay(ctx, s.Queue, old, r.What, chunks, coordinator.Mended{Pipeline: r.Pipeline, File: r.File, Dir: r.Dir, Params: r.Params})
	if err != nil {
		return done, err
	}
	if err := coordinator.Create(ctx, s.Queue, sub); err != nil {
		return done, fmt.Errorf("creating the job: %w", err)
	}
	j, err := s.record(ctx, sub.Job)
	if err != nil {
		return done, err
	}
	if !coordinator.SameReplay(j, sub) { // somebody was quicker with another
		return done, coordinator.OtherReplay(j, sub)
	}
	done.Job, done.Chunks = j.ID, len(chunks)
	return done, nil
}

// toRetry are the chunks that a request names.
func (s *Service) toRetry(ctx context.Context, old job.Job, r RetryRequest) ([]uint64, error) {
	switch r.What {
	case job.ReplayRejects:
		if r.Narrow() {
			return nil, badInput("chunks", "rows in quarantine are loaded again all together; leave out chunks, error and reason")
		}
		return coordinator.RejectedChunks(ctx, s.ClickHouse, old)
	case job.ReplayDead:
	default:
		return nil, badInput("what", "%q is neither dead nor rejects", r.What)
	}
	chosen, err := s.chosen(ctx, old, r.Choice)
	chunks := make([]uint64, len(chosen))
	for i, c := range chosen {
		chunks[i] = c.Chunk
	}
	return chunks, err
}

func (s *Service) chosen(ctx context.Context, j job.Job, c coordinator.Choice) ([]coordinator.Chosen, error) {
	if err := checkReason(c.Reason); err != nil {
		return nil, err
	}
	return s.letters(j).Choose(ctx, c)
}

// DropRequest says which dead letters are to be forgotten.
type DropRequest struct {
	coordinator.Choice
	// AllChunks is needed where nothing narrows the choice.
	AllChunks bool `json:"all_chunks,omitempty" doc:"all dead letters of the job; needed where chunks, error and reason are left out"`
}

// Dropped says how many dead letters were forgotten.
type Dropped struct {
	Job     string `json:"job"`
	Dropped int    `json:"dropped"`
}

// DropDead forgets dead letters of an ended job: their input is not loaded. Those
// that another job has taken over stay.
func (s *Service) DropDead(ctx context.Context, id string, r DropRequest) (Dropped, error) {
	done := Dropped{Job: id}
	if r.Narrow() == r.AllChunks {
		return done, badInput("all_chunks", "say which: chunks, error or reason, or all_chunks for all")
	}
	j, err := s.record(ctx, id)
	if err != nil {
		return done, err
	}
	chosen, err := s.chosen(ctx, j, r.Choice)
	if err == nil {
		done.Dropped, err = s.letters(j).Drop(ctx, chosen)
	}
	return done, err
}

// DeadLetter reads the dead letter of a chunk. A chunk that has none is a
// *coordinator.LetterError, which says what became of it.
func (s *Service) DeadLetter(ctx context.Context, id string, chunk uint64) (coordinator.Letter, error) {
	j, err := s.record(ctx, id)
	if err != nil {
		return coordinator.Letter{}, err
	}
	return s.letters(j).Find(ctx, chunk)
}

// Ended waits until a job has ended, or ctx ends, and returns its row as it is
// then. ErrNotFound of package queue when there is no such job, or not any more.
func (s *Service) Ended(ctx context.Context, id string) (JobRow, error) {
	w, _, stop := s.board.watch(id, 0, true)
	defer stop()
	for {
		j, err := s.record(context.WithoutCancel(ctx), id)
		if err != nil || j.State.Terminal() || ctx.Err() != nil {
			return s.acted(j, err)
		}
		select {
		case <-w.wake:
			s.board.changes(w)
		case <-ctx.Done():
		}
	}
}
