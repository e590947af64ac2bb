// Package job holds the nouns that the coordinator, the worker and the tools
// share: jobs and their states, chunks, results, dead letters and verdicts.
// It imports the standard library only, so that every other package may import
// it, and it does nothing but describe and check.
package job

import "slices"

// State is where a job stands. A job moves only along the transitions that
// CanMove allows, and each move is a compare-and-set on the job's key, so two
// coordinators can never move a job twice.
type State string

// The states of a job, in the order in which a healthy job passes them.
const (
	Submitted  State = "SUBMITTED"  // accepted, nothing frozen yet
	Planning   State = "PLANNING"   // being frozen: schema, target, columns
	Running    State = "RUNNING"    // chunks are planned lazily and processed
	Verifying  State = "VERIFYING"  // every chunk has an outcome; ClickHouse is asked
	Paused     State = "PAUSED"     // no new chunk is planned or delivered
	Cancelling State = "CANCELLING" // queued chunks are being taken back

	Done            State = "DONE"              // every row is in ClickHouse, verified
	DoneWithRejects State = "DONE_WITH_REJECTS" // verified, but rows were rejected or chunks dead-lettered
	Failed          State = "FAILED"            // the job could not be done; Error says why
	Cancelled       State = "CANCELLED"         // stopped on request
)

var transitions = map[State][]State{
	Submitted:  {Planning, Failed, Cancelling},
	Planning:   {Running, Failed, Cancelling},
	Running:    {Verifying, Paused, Failed, Cancelling},
	Paused:     {Running, Cancelling, Failed},
	Verifying:  {Running, Done, DoneWithRejects, Failed, Cancelling},
	Cancelling: {Cancelled},
}

// CanMove reports whether a job in state s may move to state to.
// No transition leaves a terminal state.
func (s State) CanMove(to State) bool { return slices.Contains(transitions[s], to) }

// Terminal reports whether the job has ended; a terminal state never changes.
func (s State) Terminal() bool {
	return s == Done || s == DoneWithRejects || s == Failed || s == Cancelled
}

// Known reports whether s is one of the states above.
func (s State) Known() bool {
	_, live := transitions[s]
	return live || s.Terminal()
}
