package job

import (
	"slices"
	"time"
)

// Move is a step of a job into a state.
type Move struct {
	To State     `json:"to"`
	At time.Time `json:"at"`
}

// MaxMoves bounds the moves that a record keeps: a job that is paused and resumed
// again and again forgets the first of them.
const MaxMoves = 32

// MoveTo puts the job into a state and notes when. That is a moment later than any
// move before, whatever the clocks of those who moved it say, so that the moves of
// a job sort by their times. Whether it may move there is CanMove's to say.
func (j *Job) MoveTo(to State, now time.Time) {
	at := now.UTC().Truncate(time.Millisecond)
	history := j.History()
	if last := history[len(history)-1]; !at.After(last.At) {
		at = last.At.Truncate(time.Millisecond).Add(time.Millisecond)
	}
	j.State, j.Waiting = to, nil
	if to.Terminal() {
		j.FinishedAt = at
	}
	// The copies of a record have one array: each that moves gets its own.
	j.Moves = append(slices.Clip(j.Moves), Move{to, at})
	j.Moves = j.Moves[max(0, len(j.Moves)-MaxMoves):]
}

// History is how the job came to its state, from its submission or, of a job that
// has moved more than MaxMoves times, from the first move that is still known. It
// is never empty and ends with the present state. Moves that an older program
// made are not in it, but for the last: that has the latest time which the record
// tells of.
func (j Job) History() []Move {
	var all []Move
	if len(j.Moves) < MaxMoves {
		all = append(all, Move{Submitted, j.CreatedAt})
	}
	all = append(all, j.Moves...)
	if all[len(all)-1].To == j.State {
		return all
	}
	latest := all[len(all)-1].At
	for _, at := range []time.Time{j.StartedAt, j.FinishedAt} {
		if at.After(latest) {
			latest = at
		}
	}
	if j.Frozen != nil && j.Frozen.At.After(latest) {
		latest = j.Frozen.At
	}
	return append(all, Move{j.State, latest})
}
