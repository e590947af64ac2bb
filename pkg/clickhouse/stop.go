package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"drayage/pkg/job"
)

// StopError is a stop of inserts that did not succeed: inserts of the job may
// still end well. Its class is job.Permanent when a right is missing, which
// Grant names, and job.Retry otherwise.
type StopError struct {
	Job     string
	Running int    // inserts that still ran when it was given up
	Grant   string // the statement that gives the right, "" when none is missing
	Err     error
}

func (e *StopError) Error() string {
	text := fmt.Sprintf("stopping the inserts of job %s: %v", e.Job, e.Err)
	if e.Running > 0 {
		text += fmt.Sprintf(" (%d still ran)", e.Running)
	}
	if e.Grant != "" {
		text += "; the user needs: " + e.Grant
	}
	return text
}

// Unwrap returns what it failed with.
func (e *StopError) Unwrap() error { return e.Err }

// Pauses between two attempts to stop inserts.
const (
	stopPauseMin = 10 * time.Millisecond
	stopPauseMax = time.Second
)

// running is the token of an insert in system.processes: of a load of this
// package it is always set. The query id would do on a server, but the embedded
// engine gives one of its own.
const running = "Settings['insert_deduplication_token']"

// StopInserts kills the INSERTs of the job's chunks (nil: of all of them, and
// of its rejects) that run at this moment on the server that was asked, and
// returns when none of them is left: each has ended, well or not. An insert
// that begins afterwards is not stopped; whoever could begin one must have been
// told before. It fails with a *StopError when the context ends first or a
// right is missing; an insert that waits for a client that sends nothing ends
// only with that client, or with the server's receive timeout.
func (c *Client) StopInserts(ctx context.Context, jobID string, chunks []uint64) error {
	if chunks == nil {
		return c.stop(ctx, jobID, "startsWith("+running+", "+quoteString(jobID+"/")+")")
	}
	for batch := range slices.Chunk(chunks, maxStopped) {
		prefixes := make([]string, len(batch))
		for i, chunk := range batch {
			prefixes[i] = fmt.Sprintf("%s/%d", jobID, chunk)
		}
		// The token is job/chunk/block/generation, of a further target with its number, and a job's name has no "/".
		err := c.stop(ctx, jobID, "arrayStringConcat(arraySlice(splitByChar('/', "+running+"), 1, 2), '/') IN ("+quoteStrings(prefixes)+")")
		if err != nil {
			return err
		}
	}
	return nil
}

// maxStopped bounds the chunks that one statement names, each with the name of
// the job.
const maxStopped = 1000

func (c *Client) stop(ctx context.Context, jobID, condition string) error {
	what := "stopping the inserts of job " + jobID
	// Not the statements of this very search, which have no token.
	count := "SELECT count() FROM system.processes WHERE " + condition
	var n uint64 // as counted last
	for pause := stopPauseMin; ; pause = min(2*pause, stopPauseMax) {
		if err := c.rows(ctx, what, count, func(scan scanner) error { return scan(&n) }); err != nil {
			return stopError(jobID, n, err, "GRANT SELECT ON system.processes")
		}
		if n == 0 {
			return nil
		}
		// SYNC would wait in the server, and on the embedded engine for ever.
		if err := c.exec(ctx, what, "", "KILL QUERY WHERE "+condition+" ASYNC"); err != nil {
			return stopError(jobID, n, err, "GRANT KILL QUERY ON *.*")
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return stopError(jobID, n, context.Cause(ctx), "")
		}
	}
}

// stopError says what a stop failed with; grant is the right that the failed
// statement takes.
func stopError(jobID string, running uint64, err error, grant string) error {
	e := &StopError{Job: jobID, Running: int(running), Err: err} //nolint:gosec // inserts at once are few
	var x *Exception
	if errors.As(err, &x) && x.Code == codeAccessDenied {
		e.Grant = grant
		return job.WithClass(e, job.Permanent)
	}
	return job.WithClass(e, job.Retry)
}
