package clickhouse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"drayage/pkg/job"
)

// MutationError is a deletion that the server did not finish. It was told to
// give it up; some of its rows may be gone. The same deletion may be asked for
// again. Its class is job.Retry.
type MutationError struct {
	Table Table
	// ID is the server's name for the mutation, "" when it never took it on.
	ID string
	// Reason is why it failed last, in the server's words; "" when it only
	// took too long.
	Reason string
	// Parts is how many parts of the table were left to do.
	Parts int64
	// Killed is false when the server could not even be told to give it up:
	// the mutation may go on.
	Killed bool
	Err    error // the end of the context, or what the server said; may be nil
}

func (e *MutationError) Error() string {
	text := fmt.Sprintf("deleting rows of table %s", e.Table)
	switch {
	case e.Reason != "":
		text += " failed: " + e.Reason
	default:
		text += fmt.Sprintf(" was not finished, %d parts were left to do", e.Parts)
	}
	if e.ID != "" {
		text += " (mutation " + e.ID + ")"
	}
	if !e.Killed {
		text += "; it may go on: KILL MUTATION did not reach it"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns what ended the wait.
func (e *MutationError) Unwrap() error { return e.Err }

// Pauses between two looks at a mutation.
const (
	mutationPauseMin = 5 * time.Millisecond
	mutationPauseMax = time.Second
)

// mutationAppears is how long a mutation is awaited in system.mutations: a
// replica learns of it a moment after it was taken on.
const mutationAppears = 30 * time.Second

// killTimeout bounds the attempt to take a mutation back when the context is
// over already.
const killTimeout = 10 * time.Second

// mutate deletes the rows that meet a condition, and returns when they are
// gone on the server that was asked; replicas follow by themselves, as they do
// with inserts. A replica that is away does not hold it up, as it would with
// mutations_sync = 2.
//
// It is a lightweight DELETE, which marks the rows. A part is not written anew
// with all of its columns, as ALTER TABLE … DELETE does it; and a part whose
// rows are all gone is not dropped within the minute, which makes the server
// forget the tokens of what was in it. Tables with projections refuse it, by a
// setting of the table that is the user's: there it is ALTER TABLE … DELETE.
//
// The mutation is started and then watched, since an answer that takes as long
// as a mutation may outlive every timeout on the way.
func (c *Client) mutate(ctx context.Context, what string, info TableInfo, where string) error {
	t := info.Table
	// The condition carries a name for this mutation, by which it is found
	// again even when the answer to the statement was lost.
	name := "drayage-" + rand.Text()
	where = "(" + where + ") AND " + quoteString(name) + " != ''"
	statement := "DELETE FROM " + t.SQL() + " WHERE " + where + " SETTINGS lightweight_deletes_sync = 0"
	if c.known[deleteMode] {
		statement += ", " + deleteMode + " = 'alter_update'" // another makes patches, and no mutation to wait for
	}
	if info.Projections {
		statement = "ALTER TABLE " + t.SQL() + " DELETE WHERE " + where + " SETTINGS mutations_sync = 0"
	}
	m := &mutation{c: c, what: what, table: t, name: name, replicated: info.Replicated}
	if err := c.exec(ctx, what, "", statement); err != nil {
		var x *Exception
		if errors.As(err, &x) {
			return err // refused
		}
		return m.giveUp(ctx, err)
	}
	appears := time.Now().Add(mutationAppears)
	for pause := mutationPauseMin; ; pause = min(2*pause, mutationPauseMax) {
		if err := m.look(ctx); err != nil {
			return m.giveUp(ctx, err)
		}
		switch {
		case m.done, m.gone, m.id == "" && time.Now().After(appears):
			return nil // how many rows are left is counted in any case
		case m.reason != "":
			return m.giveUp(ctx, nil)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return m.giveUp(ctx, context.Cause(ctx))
		}
	}
}

// deleteMode is a setting that not every supported version has.
const deleteMode = "lightweight_delete_mode"

// mutation is one that was started, as the server saw it last.
type mutation struct {
	c     *Client
	what  string
	table Table
	name  string // in its condition

	replicated bool

	id, reason string
	parts      int64
	done       bool
	gone       bool // it was listed, and is not any more: killed, or long finished
}

// mine is the condition for the mutation in system.mutations.
func (m *mutation) mine() string {
	return fmt.Sprintf("database = %s AND table = %s AND position(command, %s) > 0",
		quoteString(m.table.Database), quoteString(m.table.Name), quoteString(m.name))
}

func (m *mutation) look(ctx context.Context) error {
	listed := false
	err := m.c.rows(ctx, m.what, "SELECT mutation_id, is_done = 1, parts_to_do, latest_fail_reason FROM system.mutations WHERE "+m.mine(), func(scan scanner) error {
		listed = true
		return scan(&m.id, &m.done, &m.parts, &m.reason)
	})
	m.gone = err == nil && !listed && m.id != ""
	return err
}

// giveUp takes the mutation back, whatever became of the context.
func (m *mutation) giveUp(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
	defer cancel()
	looked := m.look(ctx)
	e := &MutationError{Table: m.table, ID: m.id, Reason: m.reason, Parts: m.parts, Err: cause}
	killed := m.c.exec(ctx, m.what, "", "KILL MUTATION WHERE "+m.mine())
	// One that is not listed is not there, but on a replica it may yet come.
	e.Killed = killed == nil && looked == nil && (m.id != "" || !m.replicated)
	return job.WithClass(fmt.Errorf("%s: %w", m.what, e), job.Retry)
}
