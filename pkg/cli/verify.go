package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func (a *app) verify() *cobra.Command {
	var repair, counted bool
	cmd := &cobra.Command{
		Use:   "verify JOB",
		Short: "Ask ClickHouse whether the rows of a job are there, each once",
		Long: `Ask ClickHouse again, at any time, whether the rows of a job are there as they were
recorded, chunk by chunk: those in the table and those in quarantine. The exit code
is 1 when they are not. Of a job that still runs, the chunks recorded so far are
compared.

Where the table has no _job and _chunk columns its rows can not be counted; then
only the ledger vouches for them, which is the weaker proof.

--source counts the records of every loaded chunk in the source too, as it is now,
and compares with what was read; it reads all of the input again.

--repair mends an ended job: rows that have no business there are deleted, and
chunks with too few or too many rows are taken out and loaded again by a new job.`,
		Example: "  dray verify last\n  dray verify flights-20261123 --json\n  dray verify last --repair\n  dray verify last --source",
		Args:    cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.completeJobs(1, nil)
	cmd.Flags().BoolVar(&repair, "repair", false, "mend what differs")
	cmd.Flags().BoolVar(&counted, "source", false, "count the source's records again too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		s, j, err := a.openJob(ctx, args[0], true)
		if err != nil {
			return err
		}
		defer s.close()
		v, err := a.verifyJob(ctx, s, j)
		if err != nil {
			return err
		}
		if repair && v.mendable() {
			if !a.json {
				if err := a.printVerification(j, v); err != nil {
					return err
				}
			}
			if v, err = a.repair(ctx, s, j, v); err != nil {
				return err
			}
			if j, _, err = s.queue.Job(ctx, j.ID); err != nil {
				return fmt.Errorf("reading the job: %w", err)
			}
		}
		if counted {
			if v.Source, err = a.recount(ctx, s, j); err != nil {
				return err
			}
			v.Agrees = v.Agrees && len(v.Source.Differ) == 0
		}
		if a.json {
			err = a.printJSON(v)
		} else {
			err = a.printVerification(j, v)
		}
		if err == nil && !v.Agrees {
			err = &exitError{code: ExitFailed}
		}
		return err
	}
	return cmd
}

// verification is what verify found out.
type verification struct {
	Job      string           `json:"job"`
	State    job.State        `json:"state"`
	Running  bool             `json:"running"`
	Agrees   bool             `json:"agrees"`
	Kind     string           `json:"kind,omitempty"`   // of the proof; empty when there is nothing to prove
	Rows     uint64           `json:"rows"`             // found in ClickHouse
	Rejected uint64           `json:"rejected"`         // found in quarantine
	Tables   []job.TableProof `json:"tables,omitempty"` // of several targets, what each has
	Recorded uint64           `json:"recorded"`         // rows that the job's own record says are loaded
	// Chunks that differ, at most maxDifferent of them.
	Differ []difference `json:"differ"`
	More   uint64       `json:"differ_more"` // left out of Differ
	// Unlisted are chunks that the ledger does not know as they are, though
	// their own result agrees with what is there.
	Unlisted int `json:"unlisted"`
	// TakenOver is what became of the jobs that have taken over from this one.
	TakenOver []takenOver `json:"taken_over"`
	UndoneAt  time.Time   `json:"undone_at,omitzero"`
	At        time.Time   `json:"at"`
	Repair    *repaired   `json:"repair,omitempty"`
	Source    *recount    `json:"source,omitempty"` // with --source

	relist []clickhouse.LedgerRow
}

// difference is a chunk that is not in ClickHouse as it should be.
type difference struct {
	job.Difference
	Place       string `json:"place,omitempty"` // of its input
	TakenOverBy string `json:"taken_over_by,omitempty"`
	// What is wrong: one of the constants below.
	What string `json:"what"`
}

// What is wrong with a chunk.
const (
	wrongRows = "rows"    // its rows are not those that were loaded: it is to be loaded again
	strayRows = "stray"   // it should have no rows: they are to be deleted
	cantTell  = "unknown" // it has rows, and the records that would tell are gone
)

// maxDifferent bounds the chunks that verify holds and mends at once: those
// that one replay can take over.
const maxDifferent = job.MaxClaimed

// lost reports whether rows went to a job that did not load them.
func (v *verification) lost() bool {
	return slices.ContainsFunc(v.TakenOver, func(o takenOver) bool { return o.Lost })
}

// mendable reports whether a repair has something to do.
func (v *verification) mendable() bool { return !v.Running && (len(v.Differ) > 0 || v.Unlisted > 0) }

// verifyJob asks ClickHouse and, about every chunk that differs from the
// ledger, the records of the job itself.
func (a *app) verifyJob(ctx context.Context, s *site, j job.Job) (*verification, error) {
	v := &verification{
		Job: j.ID, State: j.State, Running: isLive(j), Agrees: true, Recorded: j.Totals.RowsLoaded,
		Differ: []difference{}, TakenOver: []takenOver{}, UndoneAt: j.UndoneAt, At: time.Now().UTC(),
	}
	if j.Frozen == nil {
		return v, nil
	}
	proof, err := coordinator.Prove(ctx, s.clickhouse, j)
	if err != nil {
		if errors.Is(err, clickhouse.ErrNoTable) {
			err = hinted(err, "the table was dropped or renamed since job %s loaded into it", j.ID)
		}
		return nil, err
	}
	v.Kind, v.Rows, v.Rejected, v.Tables, v.At = proof.Kind, proof.Rows, proof.Rejected, proof.Tables, proof.At
	if len(proof.Differ) > 0 {
		d := &diagnosis{queue: s.queue, job: j, place: coordinator.Places(j, a.with.Sources, a.cfg.Rules), taken: coordinator.Takers(j, job.ReplayChunks)}
		stores, err := coordinator.Stores(ctx, s.clickhouse, j)
		if err != nil {
			return nil, err
		}
		for _, at := range stores {
			d.table = at.Table
			err := at.VerifyEach(ctx, at.Table, j.ID, at.Provenance, func(differ job.Difference) error {
				differ.Target = at.Target
				return d.add(ctx, v, differ)
			})
			if err != nil {
				return nil, err
			}
		}
	}
	v.Agrees = len(v.Differ) == 0 && v.More == 0
	if v.TakenOver, err = takersOf(ctx, s.queue, j); err != nil {
		return nil, err
	}
	v.Agrees = v.Agrees && !v.lost()
	// The ledger may have lost a chunk together with its rows.
	if whole := j.State == job.Done || j.State == job.DoneWithRejects; whole && j.UndoneAt.IsZero() && len(j.Claims) == 0 && v.Rows != v.Recorded {
		v.Agrees = false
	}
	return v, nil
}

// diagnosis tells of chunks that differ from the ledger what is wrong with them.
type diagnosis struct {
	queue    *queue.Queue
	job      job.Job
	table    clickhouse.Table // that is looked at
	place    func(json.RawMessage) string
	taken    map[uint64]string
	complete *bool // whether the results of all chunks are still there; nil: not known yet
}

func (d *diagnosis) add(ctx context.Context, v *verification, differ job.Difference) error {
	found := difference{Difference: differ, What: wrongRows, TakenOverBy: d.taken[differ.Chunk]}
	r, err := d.queue.Result(ctx, d.job.ID, differ.Chunk, d.job.Plan.Generation(differ.Chunk))
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		return fmt.Errorf("reading the result of chunk %d: %w", differ.Chunk, err)
	}
	recorded := err == nil
	if recorded {
		found.Place = d.place(r.Input)
	}
	gone := d.job.Plan.Retired(differ.Chunk) || found.TakenOverBy != "" || !d.job.UndoneAt.IsZero()
	counts := differ.Recorded+differ.RejectedRecorded > 0 // for the ledger
	switch {
	case v.Running && (!recorded || gone):
		return nil // a worker is at it, or the coordinator will take it out
	case (gone || recorded && !r.Loaded()) && !counts:
		found.What = strayRows
	case gone:
		found.What = cantTell // it was to be taken out and was not
	case recorded && r.Of(differ.Target).RowsLoaded == differ.Found && r.Of(differ.Target).RowsRejected == differ.RejectedFound:
		v.Unlisted++
		if len(v.relist) < maxDifferent {
			v.relist = append(v.relist, clickhouse.LedgerRow{
				Result: r.Of(differ.Target), Table: d.table, Pipeline: d.job.Name, Outcome: clickhouse.OutcomeLoaded, RecordedAt: time.Now().UTC(),
			})
		}
		return nil
	case !recorded && !counts:
		if found.What, err = d.unrecorded(ctx, differ.Chunk, &found); err != nil {
			return err
		}
	}
	if len(v.Differ) == maxDifferent {
		v.More++
		return nil
	}
	v.Differ = append(v.Differ, found)
	return nil
}

// unrecorded tells about a chunk that has rows, and no result: only when it is
// certain that it was given up, or never recorded, may they be called stray.
func (d *diagnosis) unrecorded(ctx context.Context, chunk uint64, found *difference) (string, error) {
	dead, err := d.queue.DeadLetter(ctx, d.job.ID, chunk, d.job.Plan.Generation(chunk))
	if err == nil {
		found.Place = d.place(dead.Chunk.Input)
		return strayRows, nil
	}
	if !errors.Is(err, queue.ErrNotFound) {
		return "", fmt.Errorf("reading the dead letter of chunk %d: %w", chunk, err)
	}
	if d.complete == nil {
		n, err := d.queue.CountResults(ctx, d.job.ID)
		if err != nil {
			return "", err
		}
		// Those of a job of which none was recorded may have expired as well.
		complete := n > 0 && n >= d.job.Totals.Chunks+d.job.Totals.Retired
		d.complete = &complete
	}
	if *d.complete {
		return strayRows, nil
	}
	return cantTell, nil
}

// shownDifferences bounds the chunks that verify prints.
const shownDifferences = 100

func (a *app) printVerification(j job.Job, v *verification) error {
	w := &table{}
	row := w.row
	row("job", "%s", v.Job)
	state := string(v.State)
	if v.Running {
		state += ", still running: what is recorded so far is compared"
	}
	row("state", "%s", state)
	if !v.UndoneAt.IsZero() {
		row("undone", "%s (%s): no row of it should be there", v.UndoneAt.Format(time.RFC3339), humanize.Time(v.UndoneAt))
	}
	if v.Kind == "" {
		row("verified", "nothing: no chunk of it was begun")
		return w.write(a.Out)
	}
	parts := v.Tables
	if len(parts) == 0 {
		parts = []job.TableProof{{Table: tables(j), Kind: v.Kind, Rows: v.Rows}}
	}
	for _, t := range parts {
		row("table", "%s", t.Table)
		switch t.Kind {
		case clickhouse.ProofProvenance:
			row("proof", "provenance: counted by chunk in the table")
		default:
			row("proof", "ledger: the weaker proof. The table has no _job and _chunk columns, or loses rows by itself, so its rows")
			row("", "can not be counted; the ledger vouches that each insert was acknowledged once under its token")
		}
		row("rows", "%s", humanize.Comma(int64(t.Rows)))
	}
	row("quarantine", "%s", humanize.Comma(int64(v.Rejected)))
	for i, d := range v.Differ {
		if i == shownDifferences {
			row("", "and %d more", uint64(len(v.Differ)-i)+v.More)
			break
		}
		row("differs", "%s%s", differs(d.Difference), d.explained())
	}
	for _, o := range v.TakenOver {
		state := "whose record is gone"
		if o.State != "" {
			state = "which is " + string(o.State)
		}
		if o.Lost {
			state += ": it has not loaded all of them; dray show " + o.Job
		}
		row("taken over", "%s of %d chunks by job %s, %s", job.Replayed(o.What), o.Chunks, o.Job, state)
	}
	if v.Unlisted > 0 {
		row("ledger", "%d chunks are not in it as they are, though their own results agree; --repair lists them", v.Unlisted)
	}
	if r := v.Repair; r != nil {
		row("repaired", "%d chunks deleted, %d listed, %d loaded again%s", r.Deleted, r.Listed, r.Replayed, r.by())
	}
	if c := v.Source; c != nil {
		if c.Why != "" {
			row("source", "not counted: %s", c.Why)
		} else {
			row("source", "%d chunks counted again, %d differ", c.Chunks, uint64(len(c.Differ))+c.More)
		}
		for i, d := range c.Differ {
			if i == shownDifferences {
				row("", "and %d more", uint64(len(c.Differ)-i)+c.More)
				break
			}
			if d.Error != "" {
				row("", "chunk %d, %s: %s", d.Chunk, d.Place, d.Error)
			} else {
				row("", "chunk %d, %s: %d records were read, it has %d", d.Chunk, d.Place, d.Read, d.Counted)
			}
		}
	}
	switch {
	case v.Agrees:
		row("verified", "%s", paint(a.Out, good, "agrees"))
	case len(v.Differ) == 0 && v.lost():
		row("verified", "%s: what was taken over is not there", paint(a.Out, bad, "differs"))
	case len(v.Differ) == 0 && v.Source != nil && len(v.Source.Differ) > 0:
		row("verified", "%s: the source has changed since", paint(a.Out, bad, "differs"))
	case len(v.Differ) == 0:
		row("verified", "%s: %s rows were recorded in all", paint(a.Out, bad, "differs"), humanize.Comma(int64(v.Recorded)))
	default:
		row("verified", "%s", paint(a.Out, bad, "differs"))
		if v.Repair == nil && !v.Running {
			row("next", "dray verify %s --repair, or dray undo", v.Job)
		}
	}
	return w.write(a.Out)
}

func (d difference) explained() string {
	s := ""
	switch d.What {
	case strayRows:
		s = "; it should have none"
	case cantTell:
		s = "; the records that would tell what is right are gone"
		if d.TakenOverBy != "" {
			s = "; job " + d.TakenOverBy + " was to take it over and did not take it out"
		}
	}
	if d.Place != "" {
		s += ": " + d.Place
	}
	return s
}
