package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// hedger gives the last chunks of a job to a second worker when the first
// takes unusually long. Both load under one token, so the rows are there once;
// whoever records first counts.
type hedger struct {
	q      *queue.Queue
	job    string
	after  time.Duration // 0: never
	took   []time.Duration
	next   int                  // where the next duration goes
	seen   map[uint64]time.Time // chunks at workers and since when, as the heartbeats tell
	given  map[uint64]bool      // chunks that were hedged
	hedged func()               // is told of each
}

const (
	// hedgeLast is how many chunks may be left for a job to be near its end.
	hedgeLast = 16
	// hedgeSample is of how many results the median is taken.
	hedgeSample = 101
	// hedgeFactor is how much longer than the median a straggler takes.
	hedgeFactor = 3
)

// ended notes how long a chunk took.
func (h *hedger) ended(r job.Result) {
	d := time.Duration(r.TransformMS+r.LoadMS) * time.Millisecond
	if len(h.took) < hedgeSample {
		h.took = append(h.took, d)
		return
	}
	h.took[h.next] = d
	h.next = (h.next + 1) % hedgeSample
}

// limit is how long a chunk may take.
func (h *hedger) limit() time.Duration {
	if len(h.took) == 0 {
		return h.after
	}
	sorted := slices.Sorted(slices.Values(h.took))
	return max(h.after, hedgeFactor*sorted[len(sorted)/2])
}

// step hedges what is due, when at most hedgeLast chunks are left. It needs a
// worker with a free slot.
func (h *hedger) step(ctx context.Context, left uint64, now time.Time) error {
	if h.after == 0 || left == 0 || left > hedgeLast {
		return nil
	}
	workers, err := h.q.Workers(ctx)
	if err != nil {
		return fmt.Errorf("listing the workers: %w", err)
	}
	free := 0
	at := map[uint64]time.Time{}
	for _, w := range workers {
		free += w.Slots - w.Busy
		for _, current := range w.Current {
			if chunk, ok := chunkOf(current, h.job); ok {
				at[chunk] = now
				if since, ok := h.seen[chunk]; ok {
					at[chunk] = since
				}
			}
		}
	}
	h.seen = at
	for chunk, since := range at {
		if free == 0 {
			return nil
		}
		if h.given[chunk] || now.Sub(since) < h.limit() {
			continue
		}
		c, err := h.q.QueuedChunk(ctx, h.job, chunk)
		if errors.Is(err, queue.ErrNotFound) {
			continue // it has ended meanwhile
		}
		if err == nil {
			err = h.q.Hedge(ctx, c)
		}
		if err != nil && !errors.Is(err, queue.ErrExists) {
			return fmt.Errorf("hedging chunk %d: %w", chunk, err)
		}
		h.given[chunk] = true
		h.hedged()
		free--
	}
	return nil
}

// chunkOf reads an entry of job.Worker.Current, "job/chunk/generation".
func chunkOf(current, id string) (uint64, bool) {
	rest, ok := strings.CutPrefix(current, id+"/")
	if !ok {
		return 0, false
	}
	ordinal, _, _ := strings.Cut(rest, "/")
	chunk, err := strconv.ParseUint(ordinal, 10, 64)
	return chunk, err == nil
}
