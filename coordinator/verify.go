package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
)

// maxRepairs bounds how often a job is repaired before it is given up.
const maxRepairs = 5

// verify asks ClickHouse for the job's rows. It ends the job when they are as
// recorded; otherwise it repairs what differs, and asks again.
func (d *driver) verify(ctx context.Context, j job.Job, rev queue.Revision) error {
	if j.Publishing {
		return d.conclude(ctx, j, rev)
	}
	if err := d.c.Faults.At(fault.Verify); err != nil {
		return err
	}
	if len(j.Plan.Replaced) > 0 || j.Totals.Dead > 0 {
		// A worker that was given up may be at it still.
		if err := d.stopInserts(ctx); err != nil {
			return err
		}
	}
	asking, end := d.c.measure(ctx, metrics.Verify, trace.Of{Job: j.ID, Pipeline: j.Name})
	proof, err := Prove(asking, d.c.ClickHouse, j)
	end(err)
	if err != nil {
		return fmt.Errorf("verifying the job: %w", err)
	}
	d.c.Metrics.Verified(len(proof.Differ))
	all := Tables(j)
	if err := d.c.Faults.At(fault.Verified); err != nil {
		return err
	}
	if d.c.Faults.Skips(fault.Verify) {
		proof.Differ, proof.Rows = nil, j.Totals.RowsLoaded
	}
	j.Proof = &proof
	to := job.Done
	switch {
	case len(proof.Differ) > 0 && j.Repairs < maxRepairs:
		return d.repair(ctx, j, rev)
	case len(proof.Differ) > 0:
		first := proof.Differ[0]
		j.Error = fmt.Sprintf("ClickHouse does not hold what was recorded, after %d repairs: %d chunks differ, the first is chunk %d with %d rows recorded and %d found in %s; dray verify %s lists them",
			j.Repairs, len(proof.Differ), first.Chunk, first.Recorded, first.Found, all[first.Target], j.ID)
		to = job.Failed
	case proof.Rows != j.Totals.RowsLoaded:
		j.Error = fmt.Sprintf("ClickHouse vouches for %d rows in %s, %d were recorded", proof.Rows, names(all), j.Totals.RowsLoaded)
		to = job.Failed
	case j.Totals.Dead > 0 && j.Totals.Chunks == 0:
		j.Error = "no chunk could be loaded"
		if dead, err := d.c.Queue.DeadLetters(ctx, j.ID, 1); err == nil && len(dead) > 0 {
			j.Error = fmt.Sprintf("no chunk could be loaded; chunk %d: %s", dead[0].Chunk.Ordinal, dead[0].Error)
		}
		to = job.Failed
	case j.Totals.Dead > 0 && j.Frozen.Publishes():
		j.PublishedAt = time.Now() // for the names alone
		j.Error = fmt.Sprintf("%d chunks are dead letters, so nothing was put in the place of what %s holds; dray dead list %s says why", j.Totals.Dead, names(Tables(j)), j.ID)
		j.PublishedAt = time.Time{}
		to = job.Failed
	}
	if to == job.Failed {
		return d.advance(ctx, j, rev, to)
	}
	if j.Frozen.Publishes() {
		j.Publishing = true
		if rev, err = d.c.Queue.UpdateJob(ctx, j, rev); err != nil {
			return fmt.Errorf("recording that the rows are verified: %w", err)
		}
	}
	return d.conclude(ctx, j, rev)
}

// Prove asks ClickHouse for the rows of a job in all its targets.
func Prove(ctx context.Context, ch *clickhouse.Client, j job.Job) (job.Proof, error) {
	stores, err := Stores(ctx, ch, j)
	proof := job.Proof{Kind: clickhouse.ProofProvenance}
	if err != nil {
		return proof, err
	}
	for _, s := range stores {
		p, err := s.Verify(ctx, s.Table, j.ID, s.Provenance)
		if err != nil {
			return proof, err
		}
		for _, d := range p.Differ {
			d.Target = s.Target
			proof.Differ = append(proof.Differ, d)
		}
		proof.At = p.At
		if !s.Copy {
			proof.Rejected += p.Rejected
		}
		if s.Records {
			continue
		}
		if p.Kind != clickhouse.ProofProvenance {
			proof.Kind = p.Kind
		}
		proof.Rows += p.Rows
		if len(stores) > 1 {
			proof.Tables = append(proof.Tables, job.TableProof{Table: s.Name(), Kind: p.Kind, Rows: p.Rows})
		}
	}
	return proof, nil
}

// conclude ends a job that is verified.
func (d *driver) conclude(ctx context.Context, j job.Job, rev queue.Revision) error {
	if err := d.publishRows(ctx, &j); err != nil {
		return err
	}
	if err := d.moveWatermark(ctx, j); err != nil {
		return fmt.Errorf("moving the watermark: %w", err)
	}
	to := job.Done
	if j.Totals.Dead > 0 || j.Totals.RowsRejected > 0 {
		to = job.DoneWithRejects
	}
	return d.advance(ctx, j, rev, to)
}

// repair mends what verification found, at most 100 chunks at a time, and lets
// the job be verified again. Rows that should not be there at all are taken
// out; a chunk whose rows are not those recorded is replaced.
func (d *driver) repair(ctx context.Context, j job.Job, rev queue.Revision) (err error) {
	ctx, end := d.c.measure(ctx, metrics.Repair, trace.Of{Job: j.ID, Pipeline: j.Name})
	defer func() { end(err) }()
	d.c.Metrics.Repaired()
	found, err := d.diagnose(ctx, j)
	if err != nil {
		return fmt.Errorf("looking at the chunks that differ: %w", err)
	}
	d.log.Warn().Int("differ", len(j.Proof.Differ)).Int("remove", len(found.remove)).Int("replace", len(found.replace)).
		Int("relist", len(found.relist)).Msg("ClickHouse does not hold what was recorded; repairing")
	if err := AppendLedger(ctx, d.c.ClickHouse, j, found.relist); err != nil {
		return fmt.Errorf("writing the ledger: %w", err)
	}
	if err := Remove(ctx, d.c.ClickHouse, j, found.remove); err != nil {
		return fmt.Errorf("removing rows of chunks that were given up: %w", err)
	}
	j.Repairs++
	if len(found.replace) == 0 {
		_, err := d.c.Queue.UpdateJob(ctx, j, rev)
		return err
	}
	first := j.Proof.Differ[0]
	switch {
	case j.Frozen.Fed(), !j.Frozen.Traceable():
		why := "materialized views would be fed twice; compare the views by hand, or undo the job and run it again"
		if !j.Frozen.Traceable() {
			why = "a target does not say which chunk its rows came with, and would have them twice"
		}
		j.Error = fmt.Sprintf("chunk %d has %d rows recorded and %d found in %s, %d rejects recorded and %d found, and can not be loaded again because %s",
			first.Chunk, first.Recorded, first.Found, Tables(j)[first.Target], first.RejectedRecorded, first.RejectedFound, why)
		return d.advance(ctx, j, rev, job.Failed)
	case len(j.Plan.Replaced)+len(found.replace) > job.MaxReplaced:
		j.Error = fmt.Sprintf("more than %d chunks had to be replaced", job.MaxReplaced)
		return d.advance(ctx, j, rev, job.Failed)
	}
	d.c.Metrics.Replaced(job.ReplacedRepair, len(found.replace))
	for _, chunk := range found.replace {
		j.Plan.Replaced = append(j.Plan.Replaced, job.Replaced{
			Chunk: chunk, First: job.FirstReplacement + j.Plan.Replacements(), Count: 1, Reason: job.ReplacedRepair,
		})
	}
	return d.advance(ctx, j, rev, job.Running) // where they are replaced
}

// diagnosis says what is to be done about the chunks that differ.
type diagnosis struct {
	remove  []uint64               // nothing of theirs should be there
	replace []uint64               // they were loaded, and not all of it is there, or more
	relist  []clickhouse.LedgerRow // the ledger has lost their result
}

// diagnose asks the results, and not the ledger alone, before anything is
// deleted.
func (d *driver) diagnose(ctx context.Context, j job.Job) (found diagnosis, err error) {
	all := Tables(j)
	seen := map[uint64]bool{} // chunks to remove or replace, which may differ in several targets
	for _, differ := range j.Proof.Differ {
		if seen[differ.Chunk] {
			continue
		}
		r, err := d.c.Queue.Result(ctx, j.ID, differ.Chunk, j.Plan.Generation(differ.Chunk))
		switch {
		case j.Plan.Retired(differ.Chunk):
			found.remove, seen[differ.Chunk] = append(found.remove, differ.Chunk), true
		case errors.Is(err, queue.ErrNotFound):
			// An answer of NATS may be old; that it was given up must be
			// certain.
			if _, err := d.c.Queue.DeadLetter(ctx, j.ID, differ.Chunk, j.Plan.Generation(differ.Chunk)); err != nil {
				return found, fmt.Errorf("chunk %d has rows, and neither a result nor a dead letter: %w", differ.Chunk, err)
			}
			found.remove, seen[differ.Chunk] = append(found.remove, differ.Chunk), true
		case err != nil:
			return found, err
		case r.Of(differ.Target).RowsLoaded != differ.Recorded || r.Of(differ.Target).RowsRejected != differ.RejectedRecorded:
			found.relist = append(found.relist, clickhouse.LedgerRow{
				Result: r.Of(differ.Target), Pipeline: j.Name, Table: all[differ.Target], Outcome: clickhouse.OutcomeLoaded, RecordedAt: time.Now().UTC(),
			})
		default:
			found.replace, seen[differ.Chunk] = append(found.replace, differ.Chunk), true
		}
	}
	return found, nil
}

// replace takes out what retired chunks left in the target, and publishes the
// chunks in their place. All of it may be done again, by anyone and at any
// time: a retired chunk is never loaded again, so nothing good can be deleted.
func (d *driver) replace(ctx context.Context, j job.Job) error {
	if len(j.Plan.Replaced) == 0 {
		return nil
	}
	var retired []uint64
	for _, r := range j.Plan.Replaced {
		if r.Reason == job.ReplacedRepair {
			retired = append(retired, r.Chunk)
		}
	}
	if len(retired) > 0 {
		if err := d.c.Faults.At(fault.Retired); err != nil {
			return err
		}
		if err := d.stopInserts(ctx); err != nil {
			return err
		}
		if err := retire(ctx, d.c.ClickHouse, j, retired, "replaced: ClickHouse did not hold its rows as recorded"); err != nil {
			return err
		}
		if err := d.c.Faults.At(fault.Deleted); err != nil {
			return err
		}
	}
	for _, by := range j.Plan.Replaced {
		r, err := d.c.Queue.Result(ctx, j.ID, by.Chunk, j.Plan.Generation(by.Chunk))
		if err != nil {
			return fmt.Errorf("reading the result of chunk %d, which is replaced: %w", by.Chunk, err)
		}
		for _, c := range replacements(by, r) {
			if err := d.publish(ctx, c); err != nil {
				return fmt.Errorf("publishing chunk %d: %w", c.Ordinal, err)
			}
		}
	}
	return nil
}

// replacements are the chunks in the place of the one that has the result.
func replacements(by job.Replaced, r job.Result) []job.Chunk {
	parts := r.Parts
	if r.Loaded() {
		parts = []job.Part{{Input: r.Input, Bytes: r.Bytes}}
	}
	var chunks []job.Chunk
	for i, part := range parts {
		chunks = append(chunks, job.Chunk{
			Job: r.Job, Ordinal: by.First + uint64(i), Generation: r.Generation + 1, Bytes: part.Bytes, Input: part.Input, //nolint:gosec // an index
		})
	}
	return chunks
}
