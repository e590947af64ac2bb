package metrics

import "drayage/pkg/job"

// Step is a part of a chunk's or a job's way whose duration is measured.
type Step string

// The steps of the worker, in the order of a chunk's way. Extract and stages run
// while transform does, and are part of its time.
const (
	Prepare    Step = "prepare"    // what a worker makes once for a job: engine tables, lookups, stages
	Extract    Step = "extract"    // waiting for the source: opening it, and reading what does not go to the engine by itself
	Stages     Step = "stages"     // the Go stages, and reading the input for them
	Quarantine Step = "quarantine" // separating the records of a chunk with rejects
	Transform  Step = "transform"  // from opening the input to the last row of the SELECTs
	Reject     Step = "reject"     // writing the rejects of a chunk to quarantine
	Load       Step = "load"       // an INSERT of a chunk's rows
	Record     Step = "record"     // recording the result
	Ack        Step = "ack"        // settling the delivery
)

// The steps of the coordinator.
const (
	Freeze  Step = "freeze"  // finding out what a job depends on, and making its table
	Plan    Step = "plan"    // the source's time for a chunk of the plan
	Enqueue Step = "enqueue" // publishing a chunk to the queue, waiting for room included
	Ledger  Step = "ledger"  // writing rows of the ledger
	Verify  Step = "verify"  // asking ClickHouse for the proof
	Repair  Step = "repair"  // mending what verification found
	Publish Step = "publish" // putting verified rows in the place of older ones
)

func workerSteps() []string {
	return texts(Prepare, Extract, Stages, Quarantine, Transform, Reject, Load, Record, Ack)
}

func coordinatorSteps() []string {
	return texts(Freeze, Plan, Enqueue, Ledger, Verify, Repair, Publish)
}

// Wait is what is waited for all over the fleet.
type Wait string

// What is waited for.
const (
	Seat Wait = "seat" // a connection of limits.lease
	Lead Wait = "lead" // the lead of the coordinators
)

// Outcome is what a recorded result says.
type Outcome string

// What a result says of its chunk.
const (
	Loaded    Outcome = "loaded"
	Recovered Outcome = "recovered" // its rows were there, of an attempt that died before it recorded them
	Cut       Outcome = "cut"       // too big: its parts replace it
)

// Intake is what became of a submission.
type Intake string

// What becomes of a submission.
const (
	Accepted Intake = "accepted" // it is a job
	Refused  Intake = "refused"  // no job came of it
)

// Run is what became of a run of a schedule.
type Run string

// What becomes of a run.
const (
	Begun   Run = "begun"
	Skipped Run = "skipped" // the one before had not ended
	Missed  Run = "missed"  // nobody led at its time, or a later one was done in its place
)

// The states of chunks of live jobs.
const (
	chunksQueued   = "queued"
	chunksInFlight = "in_flight"
	chunksLoaded   = "loaded"
	chunksDead     = "dead"
	chunksRetired  = "retired"
)

func states() []job.State {
	return []job.State{
		job.Submitted, job.Planning, job.Running, job.Verifying, job.Paused, job.Cancelling,
		job.Done, job.DoneWithRejects, job.Failed, job.Cancelled,
	}
}

func endStates() []string {
	var ends []job.State
	for _, s := range states() {
		if s.Terminal() {
			ends = append(ends, s)
		}
	}
	return texts(ends...)
}

func verdicts() []string {
	var all []string
	for k := job.VerdictDone; k <= job.VerdictStale; k++ {
		all = append(all, k.String())
	}
	return all
}

func reasons() []string {
	return []string{job.ReasonPermanent, job.ReasonAttempts, job.ReasonRejects, job.ReasonTooBig}
}

func texts[T ~string](values ...T) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	return all
}
