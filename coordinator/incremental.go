package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"drayage/pkg/clickhouse"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/source"
)

// maxSeen bounds the inputs that an incremental pipeline remembers.
const maxSeen = 2_000_000

// claimWatermark makes the pipeline's watermark the job's own, so that no other job of the
// pipeline reads the same rows, and returns where the source goes on. What a job
// before it loaded and did not end well is taken out first: it would be loaded
// twice.
func (d *driver) claimWatermark(ctx context.Context, j job.Job, p *pipeline.Pipeline) (state json.RawMessage, err error) {
	if p.Incremental == nil || j.Submission.Replay != nil {
		return nil, nil
	}
	w, rev, err := d.c.Queue.Watermark(ctx, p.Name)
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		return nil, err
	}
	if w.Job != j.ID {
		if w.Job != "" {
			if err := d.clear(ctx, w.Job, p); err != nil {
				return nil, err
			}
		}
		w.Pipeline, w.Job = p.Name, j.ID
		if _, err := d.c.Queue.PutWatermark(ctx, w, rev); err != nil {
			return nil, err
		}
	}
	if j.Submission.Full {
		return nil, nil
	}
	return w.State, nil
}

// clear makes sure that a job that had claimed the watermark has ended, and that
// nothing of it is in the targets that would come again.
func (d *driver) clear(ctx context.Context, id string, p *pipeline.Pipeline) error {
	old, _, err := d.c.Queue.Job(ctx, id)
	if errors.Is(err, queue.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the job that has the watermark: %w", err)
	}
	switch {
	case !old.State.Terminal():
		return job.WithClass(fmt.Errorf("job %s of pipeline %s is %s, and this one would read the same rows: wait for it, or cancel it", id, p.Name, old.State), job.Permanent)
	case old.Frozen == nil || !old.UndoneAt.IsZero() || old.Plan.Chunks == 0:
		return nil
	}
	stays := false
	outputs := p.All()
	for i, t := range old.Frozen.Targets() {
		// A staging table is gone, and an upsert takes the rows again.
		if t.Publish == nil && !(i < len(outputs) && outputs[i].Load.Mode == pipeline.ModeUpsert) {
			stays = true
		}
	}
	if !stays {
		return nil
	}
	rows, err := Undo(ctx, d.c.Queue, d.c.ClickHouse, id)
	if err != nil {
		err = fmt.Errorf("taking out what job %s, which is %s, has loaded, for this job reads it again: %w; take it out by hand, then dray watermarks forget %s --claim", id, old.State, err, p.Name)
		if job.ClassOf(err) == job.Permanent || errors.As(err, new(*clickhouse.ProvenanceError)) {
			err = job.WithClass(err, job.Permanent)
		}
		return err
	}
	d.log.Info().Str("undone", id).Uint64("rows", rows).Msg("what the job before had loaded and not ended is taken out")
	return nil
}

// bound asks the source what is new, and makes it anew for just that.
func (f Freezer) bound(ctx context.Context, doc *pipeline.Document, p *pipeline.Pipeline, out *Frozen) (err error) {
	if p.Incremental == nil || f.Append {
		return nil
	}
	switch s := out.Source.(type) {
	case source.Incremental:
		if out.Bounds, out.Next, err = s.Bounds(ctx, f.State); err != nil {
			return sourceError(doc, err)
		}
	case source.Versioned:
		return nil
	default:
		return mistake(doc.At("incremental", "the source can not tell what is new", "leave it out"))
	}
	out.Source, err = f.source(p, doc.Dir, out.Bounds)
	return err
}

// seen is the set of inputs that jobs of the pipeline have loaded.
type seen []uint64 // ascending

// has reports whether a version is in the set. Of a million inputs one that is
// new is taken for another with a chance of 1 in 10^13.
func (s seen) has(version string) bool {
	_, found := slices.BinarySearch(s, xxhash.Sum64String(version))
	return found
}

// seen reads what earlier jobs have loaded, for a source that needs it; nil
// when there is nothing.
func (d *driver) seen(ctx context.Context, j job.Job, p *pipeline.Pipeline) (seen, error) {
	if p.Incremental == nil || j.Submission.Replay != nil || j.Submission.Full || len(j.Frozen.Bounds) > 0 {
		return nil, nil
	}
	w, _, err := d.c.Queue.Watermark(ctx, p.Name)
	if errors.Is(err, queue.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all seen
	for _, part := range w.Seen {
		inputs, err := d.c.Queue.Seen(ctx, p.Name, part.Name)
		if err != nil {
			return nil, err
		}
		all = append(all, inputs...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// moveWatermark records that what the job has read needs no reading again. It
// may be done again: a job moves it once.
func (d *driver) moveWatermark(ctx context.Context, j job.Job) error {
	p, err := pipeline.Thaw(j.Frozen.Pipeline, j.Frozen.JobTime, d.c.Allow)
	if err != nil {
		return err
	}
	if p.Incremental == nil || j.Submission.Replay != nil {
		return nil
	}
	w, rev, err := d.c.Queue.Watermark(ctx, p.Name)
	if err != nil && !errors.Is(err, queue.ErrNotFound) {
		return err
	}
	if w.MovedBy == j.ID {
		return nil
	}
	if w.Job != j.ID {
		d.log.Warn().Str("claimed_by", w.Job).Msg("the watermark is not the job's any more, and stays")
		return nil
	}
	old := w.Seen
	if len(j.Frozen.Bounds) > 0 {
		w.State, w.Seen = j.Frozen.Next, nil
	} else if w.Seen, err = d.addSeen(ctx, j, p, w); err != nil {
		return err
	}
	w.Job, w.MovedBy, w.MovedAt = "", j.ID, time.Now().UTC()
	if err := d.c.Faults.At(fault.Moving); err != nil {
		return err
	}
	if _, err := d.c.Queue.PutWatermark(ctx, w, rev); err != nil {
		return err
	}
	for _, part := range old {
		if slices.Contains(w.Seen, part) {
			continue
		}
		if err := d.c.Queue.DropSeen(ctx, p.Name, part.Name); err != nil {
			return err
		}
	}
	return d.c.Faults.At(fault.Moved)
}

// addSeen writes what the job has loaded to parts of the set, and returns all
// its parts. A part that is not full is written anew under another name.
func (d *driver) addSeen(ctx context.Context, j job.Job, p *pipeline.Pipeline, w queue.Watermark) ([]queue.SeenPart, error) {
	added, err := d.loadedInputs(ctx, j, p)
	if err != nil {
		return nil, err
	}
	parts := slices.Clone(w.Seen)
	if j.Submission.Full {
		parts = nil
	}
	total := len(added)
	for _, part := range parts {
		total += part.Count
	}
	if total > maxSeen {
		return nil, job.WithClass(fmt.Errorf("pipeline %s has loaded %d inputs, and can remember %d: narrow its paths, and begin again with --full", p.Name, total, maxSeen), job.Permanent)
	}
	if n := len(parts); n > 0 && parts[n-1].Count < queue.SeenPartMax && len(added) > 0 {
		last, err := d.c.Queue.Seen(ctx, p.Name, parts[n-1].Name)
		if err != nil {
			return nil, err
		}
		added, parts = append(last, added...), parts[:n-1]
	}
	for n := 0; len(added) > 0; n++ {
		some := added[:min(len(added), queue.SeenPartMax)]
		added = added[len(some):]
		part := queue.SeenPart{Name: fmt.Sprintf("%s-%d", j.ID, n), Count: len(some)}
		if err := d.c.Queue.PutSeen(ctx, p.Name, part.Name, some); err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// loadedInputs are the inputs of the job's chunks, also of those that are dead
// letters: they are loaded from there.
func (d *driver) loadedInputs(ctx context.Context, j job.Job, p *pipeline.Pipeline) ([]uint64, error) {
	src, err := d.source(ctx, j, p)
	if err != nil {
		return nil, err
	}
	versioned, ok := src.(source.Versioned)
	if !ok {
		return nil, nil
	}
	inputs := map[uint64]struct{}{}
	add := func(input json.RawMessage) error {
		version, err := versioned.Version(input)
		if err == nil && version != "" {
			inputs[xxhash.Sum64String(version)] = struct{}{}
		}
		if err == nil && len(inputs) > maxSeen {
			err = job.WithClass(fmt.Errorf("a job of an incremental pipeline can read %d inputs", maxSeen), job.Permanent)
		}
		return err
	}
	following, present := context.WithCancel(ctx)
	defer present()
	err = d.c.Queue.Results(following, j.ID, func(r job.Result) error { return add(r.Input) }, queue.WhenCaughtUp(present))
	if err != nil && (following.Err() == nil || ctx.Err() != nil) {
		return nil, fmt.Errorf("reading what was loaded: %w", err)
	}
	following, present = context.WithCancel(ctx)
	defer present()
	err = d.c.Queue.FollowDead(following, j.ID, func(dead job.Dead) error { return add(dead.Chunk.Input) }, queue.WhenCaughtUp(present))
	if err != nil && (following.Err() == nil || ctx.Err() != nil) {
		return nil, fmt.Errorf("reading the dead letters: %w", err)
	}
	all := make([]uint64, 0, len(inputs))
	for n := range inputs {
		all = append(all, n)
	}
	slices.Sort(all)
	return all, nil
}
