package cli

import (
	"context"
	"errors"

	"drayage/coordinator"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/local"
)

// recount is what the source has of a job's records, now.
type recount struct {
	Chunks uint64      `json:"chunks"` // counted
	Differ []recounted `json:"differ"` // at most maxDifferent
	More   uint64      `json:"differ_more"`
	Why    string      `json:"not_counted,omitempty"` // why the source was not counted
}

// recounted is a chunk whose source has not the records that were read.
type recounted struct {
	coordinator.Recounted
	Error string `json:"error,omitempty"`
}

// recount counts the job's records in its source again.
func (a *app) recount(ctx context.Context, s *site, j job.Job) (*recount, error) {
	var eng *engine.Client
	if s.stack != nil {
		eng = s.stack.Engine.Client()
	} else {
		process, err := local.StartEngine(ctx, a.cfg, a.log)
		if err != nil {
			return nil, err
		}
		defer process.Close()
		eng = process.Client()
	}
	r := &recount{Differ: []recounted{}}
	var err error
	r.Chunks, err = coordinator.Recounter{Queue: s.queue, Engine: eng, Custom: a.with.Sources, Allow: a.cfg.Rules}.Recount(ctx, j, func(c coordinator.Recounted) error {
		if len(r.Differ) == maxDifferent {
			r.More++
			return nil
		}
		d := recounted{Recounted: c}
		if c.Err != nil {
			d.Error = c.Err.Error()
		}
		r.Differ = append(r.Differ, d)
		return nil
	})
	if errors.Is(err, coordinator.ErrUncountable) {
		r.Why = err.Error()
		return r, nil
	}
	return r, err
}
