package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// Letter is a dead letter, with what has become of its chunk since.
type Letter struct {
	job.Dead
	Place       string `json:"place"`                      // of its input, for a person
	TakenOverBy string `json:"taken_over_by,omitempty"`    // the job that replays it
	Loaded      bool   `json:"loaded_after_all,omitempty"` // by a worker that was thought lost
}

// Choice says which dead letters of a job are meant. Its zero value means those
// that nobody has taken care of.
type Choice struct {
	Chunks []uint64 `json:"chunks,omitempty"` // only these
	Error  string   `json:"error,omitempty"`  // only those with this text in their error, in any case
	Reason string   `json:"reason,omitempty"` // only those with this reason
	All    bool     `json:"-"`                // also those that somebody has taken care of
}

// Reasons are those that a dead letter may have.
func Reasons() []string {
	return []string{job.ReasonPermanent, job.ReasonAttempts, job.ReasonRejects, job.ReasonTooBig}
}

// Narrow reports whether some letters are chosen rather than all.
func (c Choice) Narrow() bool { return len(c.Chunks) > 0 || c.Error != "" || c.Reason != "" }

func (c Choice) matches(d job.Dead) bool {
	return (len(c.Chunks) == 0 || slices.Contains(c.Chunks, d.Chunk.Ordinal)) &&
		strings.Contains(strings.ToLower(d.Error), strings.ToLower(c.Error)) &&
		(c.Reason == "" || d.Reason == c.Reason)
}

// LetterError says that there is no dead letter of a chunk that could be
// replayed or dropped, and why. Its class is job.Permanent.
type LetterError struct {
	Job   string
	Chunk uint64
	What  string // what became of the chunk, such as "is no dead letter: it is loaded"
	By    string // the job that has taken it over; empty when none has
}

func (e *LetterError) Error() string {
	return fmt.Sprintf("chunk %d of job %s %s", e.Chunk, e.Job, e.What)
}

// Letters reads the dead letters of one job.
type Letters struct {
	Queue *queue.Queue
	Job   job.Job
	Place func(json.RawMessage) string // see Places
}

// Each gives the chosen dead letters to fn, the oldest first. It ends early and
// well when fn returns queue.ErrStop.
func (ls Letters) Each(ctx context.Context, c Choice, fn func(Letter) error) error {
	taken := Takers(ls.Job, job.ReplayDead)
	reading, present := context.WithCancel(ctx)
	defer present()
	err := ls.Queue.FollowDead(reading, ls.Job.ID, func(d job.Dead) error {
		if !c.matches(d) {
			return nil
		}
		l, err := ls.look(ctx, d, taken)
		if err != nil || !c.All && (l.TakenOverBy != "" || l.Loaded) {
			return err
		}
		return fn(l)
	}, queue.WhenCaughtUp(present))
	if err == nil || ctx.Err() == nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("reading the dead letters of job %s: %w", ls.Job.ID, err)
}

// look finds out what has become of a dead letter's chunk.
func (ls Letters) look(ctx context.Context, d job.Dead, taken map[uint64]string) (Letter, error) {
	l := Letter{Dead: d, Place: ls.Place(d.Chunk.Input), TakenOverBy: taken[d.Chunk.Ordinal]}
	_, err := ls.Queue.Result(ctx, d.Chunk.Job, d.Chunk.Ordinal, d.Chunk.Generation)
	switch {
	case err == nil:
		l.Loaded = true
	case !errors.Is(err, queue.ErrNotFound):
		return l, err
	}
	return l, nil
}

// Find reads the dead letter of a chunk. A *LetterError says what became of a
// chunk that has none.
func (ls Letters) Find(ctx context.Context, chunk uint64) (Letter, error) {
	generation := ls.Job.Plan.Generation(chunk)
	d, err := ls.Queue.DeadLetter(ctx, ls.Job.ID, chunk, generation)
	if err == nil {
		return ls.look(ctx, d, Takers(ls.Job, job.ReplayDead))
	}
	if !errors.Is(err, queue.ErrNotFound) {
		return Letter{}, fmt.Errorf("reading the dead letter: %w", err)
	}
	what := "has no dead letter: it is not done yet, never was planned, or the letter was dropped"
	if r, err := ls.Queue.Result(ctx, ls.Job.ID, chunk, generation); err == nil {
		what = "is no dead letter: it is loaded"
		if !r.Loaded() {
			what = "is no dead letter: it was too big and others replace it"
		}
	}
	return Letter{}, ls.missing(chunk, what, "")
}

func (ls Letters) missing(chunk uint64, what, by string) error {
	return job.WithClass(&LetterError{ls.Job.ID, chunk, what, by}, job.Permanent)
}

// Chosen is what is kept of a letter while many are chosen.
type Chosen struct {
	Chunk      uint64
	Generation uint32
}

// Choose finds the letters of a choice, in the order of their chunks. A chunk
// that was named must be among them, or it is a *LetterError.
func (ls Letters) Choose(ctx context.Context, c Choice) ([]Chosen, error) {
	var chosen []Chosen
	err := ls.Each(ctx, c, func(l Letter) error {
		chosen = append(chosen, Chosen{l.Chunk.Ordinal, l.Chunk.Generation})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(chosen, func(x, y Chosen) int {
		return int(int64(x.Chunk) - int64(y.Chunk)) //nolint:gosec // at most job.MaxOrdinal
	})
	for _, chunk := range c.Chunks {
		if slices.ContainsFunc(chosen, func(l Chosen) bool { return l.Chunk == chunk }) {
			continue
		}
		l, err := ls.Find(ctx, chunk)
		switch {
		case err != nil:
			return nil, err
		case l.TakenOverBy != "":
			return nil, ls.missing(chunk, "was taken over by job "+l.TakenOverBy, l.TakenOverBy)
		case l.Loaded:
			return nil, ls.missing(chunk, "was loaded after all", "")
		}
		return nil, ls.missing(chunk, "has a dead letter that the rest of the choice leaves out", "")
	}
	return chosen, nil
}

// Drop forgets dead letters: their input is not loaded. It returns how many it
// has dropped, also with an error. The error is a *StateError for a job that has
// not ended, whose chunks are counted by them.
func (ls Letters) Drop(ctx context.Context, chosen []Chosen) (int, error) {
	if !ls.Job.State.Terminal() {
		return 0, job.WithClass(&StateError{Job: ls.Job.ID, State: ls.Job.State, What: "lose dead letters before it has ended"}, job.Permanent)
	}
	for n, l := range chosen {
		if err := ls.Queue.DropDead(ctx, ls.Job.ID, l.Chunk, l.Generation); err != nil {
			return n, fmt.Errorf("dropping the dead letter of chunk %d: %w", l.Chunk, err)
		}
	}
	return len(chosen), nil
}

// Takers are the jobs that have taken chunks over from j, as far as that
// forbids another replay of what, by chunk.
func Takers(j job.Job, what string) map[uint64]string {
	by := map[uint64]string{}
	for _, c := range j.Claims {
		if c.What != what && c.What == job.ReplayRejects {
			continue // whose rows alone were taken
		}
		for _, chunk := range c.Chunks {
			by[chunk] = c.Job
		}
	}
	return by
}
