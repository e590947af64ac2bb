package api

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"drayage/pkg/job"
)

// WorkerView is a worker that lives.
type WorkerView struct {
	job.Worker
	Load       float64        `json:"load"`        // slots in use, of 1
	AgeSeconds float64        `json:"age_seconds"` // of the heartbeat
	Chunks     []CurrentChunk `json:"chunks"`      // job.Worker.Current, taken apart
}

// CurrentChunk is a chunk at a worker.
type CurrentChunk struct {
	Job        string `json:"job"`
	Chunk      uint64 `json:"chunk"`
	Generation uint32 `json:"generation"`
}

// WorkerList are the workers of the fleet.
type WorkerList struct {
	Workers []WorkerView `json:"workers"` // by name
	Slots   int          `json:"slots"`   // of all
	Busy    int          `json:"busy"`
}

// Workers lists those whose heartbeat was heard within DRAY_WORKER_TTL.
func (s *Service) Workers(ctx context.Context) (WorkerList, error) {
	v := WorkerList{Workers: []WorkerView{}}
	workers, err := s.workers.get(ctx)
	if err != nil {
		return v, fmt.Errorf("listing the workers: %w", err)
	}
	for _, w := range workers {
		view := WorkerView{Worker: w, Chunks: []CurrentChunk{}, AgeSeconds: max(0, time.Since(w.At).Seconds())}
		if w.Slots > 0 {
			view.Load = float64(w.Busy) / float64(w.Slots)
		}
		for _, c := range w.Current {
			if chunk, ok := readCurrent(c); ok {
				view.Chunks = append(view.Chunks, chunk)
			}
		}
		v.Workers = append(v.Workers, view)
		v.Slots, v.Busy = v.Slots+w.Slots, v.Busy+w.Busy
	}
	return v, nil
}

// readCurrent reads "job/chunk/generation".
func readCurrent(text string) (CurrentChunk, bool) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return CurrentChunk{}, false
	}
	chunk, err := strconv.ParseUint(parts[1], 10, 64)
	generation, err2 := strconv.ParseUint(parts[2], 10, 32)
	return CurrentChunk{parts[0], chunk, uint32(generation)}, err == nil && err2 == nil //nolint:gosec // 32 bits
}
