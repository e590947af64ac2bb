package api

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"drayage/coordinator"
	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// MaxCells bounds the cells of a ChunkMap: of a job with more chunks several
// share a cell.
const MaxCells = 10_000

// ChunkMap is the state of every chunk of a job, in the order of the plan, with
// replacements at the end.
type ChunkMap struct {
	Job    string `json:"job"`
	Chunks uint64 `json:"chunks"` // planned so far, replacements among them
	// Planned are those of the plan alone, the first places. Those that follow replace
	// others: their ordinals count from job.FirstReplacement.
	Planned uint64 `json:"planned"`
	// Complete is true when no more will be planned.
	Complete bool `json:"complete"`
	// Width is how many chunks, one after another, share a cell; 1 up to
	// MaxCells chunks. The last cell may have fewer.
	Width uint64 `json:"width"`
	// Cells has a letter for each cell: that of the worst state of its chunks.
	Cells string `json:"cells"`
	// Letters says which state a letter stands for, the worst first.
	Letters []ChunkLetter `json:"letters"`
}

// ChunkLetter is a state of a chunk with the letter it has in ChunkMap.Cells.
type ChunkLetter struct {
	Letter string `json:"letter"`
	State  string `json:"state"` // one of clickhouse's or this package's Chunk constants
	Chunks uint64 `json:"chunks"`
}

// The states of a chunk that the ledger does not know.
const (
	ChunkWorking = "working" // at a worker
	ChunkQueued  = "queued"  // waits for a worker, or for the next attempt
	ChunkLeft    = "left"    // its job ended without it
)

// letters are those of the states, the worst first.
//
//nolint:gochecknoglobals // a constant
var letters = []ChunkLetter{
	{Letter: "d", State: clickhouse.ChunkDead},
	{Letter: "r", State: clickhouse.ChunkRetrying},
	{Letter: "w", State: ChunkWorking},
	{Letter: "q", State: ChunkQueued},
	{Letter: "x", State: ChunkLeft},
	{Letter: "j", State: clickhouse.ChunkRejects},
	{Letter: "l", State: clickhouse.ChunkLoaded},
	{Letter: "t", State: clickhouse.ChunkRetired},
	{Letter: "u", State: clickhouse.ChunkUndone},
}

// At is the place of a chunk in the map, false when it has none.
func (m ChunkMap) At(chunk, planned uint64) (cell uint64, ok bool) {
	place := chunk
	if chunk >= job.FirstReplacement {
		place = planned + chunk - job.FirstReplacement
	} else if chunk >= planned {
		return 0, false
	}
	return place / m.Width, place < m.Chunks
}

// overlaidDead bounds the dead letters that are looked up for a map: the ledger
// knows of the others, unless word of their attempts was lost.
const overlaidDead = 1000

// Chunks is the map of a job's chunks. What has ended is from the ledger, at most
// DRAY_ACCOUNT_EVERY old; what is at a worker from the heartbeats.
func (s *Service) Chunks(ctx context.Context, id string) (ChunkMap, error) {
	j, err := s.record(ctx, id)
	if err != nil {
		return ChunkMap{}, err
	}
	total := j.Plan.Total()
	m := ChunkMap{Job: id, Chunks: total, Planned: j.Plan.Chunks, Complete: j.Plan.Complete || j.State.Terminal(), Width: max(1, (total+MaxCells-1)/MaxCells)}
	states := newCells(m, j.State.Terminal())
	err = s.ClickHouse.ChunkCells(ctx, id, j.Plan.Chunks, m.Width, func(c clickhouse.ChunkCell) error {
		states.add(c.Cell, c.State, c.Chunks)
		return nil
	})
	if err != nil {
		return m, err
	}
	if j.Totals.Dead > 0 {
		dead, err := s.Queue.DeadLetters(ctx, id, overlaidDead)
		if err != nil {
			return m, err
		}
		taken := coordinator.Takers(j, job.ReplayDead)
		letters := map[uint64]uint64{}
		for _, d := range dead {
			if cell, ok := m.At(d.Chunk.Ordinal, j.Plan.Chunks); ok && taken[d.Chunk.Ordinal] == "" && d.Chunk.Generation == j.Plan.Generation(d.Chunk.Ordinal) {
				letters[cell]++
			}
		}
		states.atLeast(clickhouse.ChunkDead, letters)
	}
	if !j.State.Terminal() {
		workers, err := s.workers.get(ctx)
		if err != nil {
			return m, fmt.Errorf("listing the workers: %w", err)
		}
		working := map[uint64]uint64{}
		for _, w := range workers {
			for _, c := range w.Current {
				current, ok := readCurrent(c)
				if cell, there := m.At(current.Chunk, j.Plan.Chunks); ok && there && current.Job == id {
					working[cell]++
				}
			}
		}
		states.atLeast(ChunkWorking, working)
	}
	m.Cells, m.Letters = states.drawn()
	return m, nil
}

// cells count the chunks of each cell by state.
type cells struct {
	size  []uint64 // chunks of each
	count []map[string]uint64
	rest  string // the state of chunks that nothing is known of
}

func newCells(m ChunkMap, ended bool) *cells {
	n := (m.Chunks + m.Width - 1) / m.Width
	c := &cells{size: make([]uint64, n), count: make([]map[string]uint64, n), rest: ChunkQueued}
	if ended {
		c.rest = ChunkLeft
	}
	for i := range c.size {
		c.size[i] = min(m.Width, m.Chunks-uint64(i)*m.Width) //nolint:gosec // an index
		c.count[i] = map[string]uint64{c.rest: c.size[i]}
	}
	return c
}

// add says that chunks of a cell are in a state.
func (c *cells) add(cell uint64, state string, chunks uint64) {
	if cell >= uint64(len(c.size)) {
		return // planned since the record was read
	}
	count := c.count[cell]
	moved := min(chunks, count[c.rest])
	count[c.rest] -= moved
	count[state] += moved
}

// atLeast says that so many chunks of some cells are in a state: as far as the
// ledger does not have them there, they are among those that it has nothing of,
// or that are tried again.
func (c *cells) atLeast(state string, chunks map[uint64]uint64) {
	for cell, n := range chunks {
		count := c.count[cell]
		for _, from := range []string{c.rest, clickhouse.ChunkRetrying} {
			moved := min(n-min(n, count[state]), count[from])
			count[from] -= moved
			count[state] += moved
		}
	}
}

// drawn is the letter of each cell, and the states that there are.
func (c *cells) drawn() (string, []ChunkLetter) {
	var b strings.Builder
	sums := map[string]uint64{}
	for _, count := range c.count {
		letter := ""
		for _, l := range letters {
			if n := count[l.State]; n > 0 {
				if sums[l.State] += n; letter == "" {
					letter = l.Letter
				}
			}
		}
		b.WriteString(letter)
	}
	var used []ChunkLetter
	for _, l := range letters {
		l.Chunks = sums[l.State]
		used = append(used, l)
	}
	return b.String(), used
}

// maxAttempts bounds the attempts of a ChunkView.
const maxAttempts = 100

// ChunkView is one chunk of a job.
type ChunkView struct {
	Job   string `json:"job"`
	Chunk uint64 `json:"chunk"`
	// Place says where its input is, for a person; empty while the chunk is not
	// known to have ended.
	Place string `json:"place,omitempty"`
	// Workers are those that are at it now.
	Workers []string `json:"workers,omitempty"`
	// Attempts are those that the ledger knows of, the oldest first, at most 100.
	Attempts []clickhouse.LedgerEntry `json:"attempts"`
	// DeadLetter is there when it was given up.
	DeadLetter *coordinator.Letter `json:"dead_letter,omitempty"`
}

// Chunk is what is known of one chunk. A chunk that never was planned is
// ErrNotFound of package queue.
func (s *Service) Chunk(ctx context.Context, id string, chunk uint64) (ChunkView, error) {
	v := ChunkView{Job: id, Chunk: chunk}
	j, err := s.record(ctx, id)
	if err != nil {
		return v, err
	}
	m := ChunkMap{Chunks: j.Plan.Total(), Width: 1}
	if _, ok := m.At(chunk, j.Plan.Chunks); !ok {
		return v, fmt.Errorf("chunk %d of job %s: %w", chunk, id, queue.ErrNotFound)
	}
	if v.Attempts, err = s.ClickHouse.ChunkHistory(ctx, id, chunk, maxAttempts); err != nil {
		return v, err
	}
	workers, err := s.workers.get(ctx)
	if err != nil {
		return v, fmt.Errorf("listing the workers: %w", err)
	}
	for _, w := range workers {
		for _, c := range w.Current {
			if current, ok := readCurrent(c); ok && current.Job == id && current.Chunk == chunk {
				v.Workers = append(v.Workers, w.ID)
			}
		}
	}
	place := coordinator.Places(j, s.Sources, s.Allow)
	if r, err := s.Queue.Result(ctx, id, chunk, j.Plan.Generation(chunk)); err == nil && len(r.Input) > 0 {
		v.Place = place(r.Input)
	}
	l, err := coordinator.Letters{Queue: s.Queue, Job: j, Place: place}.Find(ctx, chunk)
	var missing *coordinator.LetterError
	switch {
	case err == nil:
		v.DeadLetter, v.Place = &l, l.Place
	case !errors.As(err, &missing):
		return v, err
	}
	return v, nil
}
