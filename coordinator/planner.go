package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
)

// planner publishes a job's chunks, one by one, in the source's order.
type planner struct {
	d       *driver
	source  source.Source
	columns []job.Column
	window  *window
	plan    job.Plan // so far
	// moved is called after each chunk was published, with the plan as it is
	// then, and at the end.
	moved func(job.Plan)
}

// run plans until the source has no more, which it records in the plan. It
// goes on where the plan stands. Chunks published again, because a coordinator
// died before it recorded them, are refused by their subject or found done by
// the worker.
func (p *planner) run(ctx context.Context) error {
	begun := time.Now()
	for planned, err := range p.source.Plan(ctx, p.plan.Cursor, p.columns) {
		p.d.c.Metrics.Step(metrics.Plan, time.Since(begun))
		if err != nil {
			return fmt.Errorf("planning chunk %d: %w", p.plan.Chunks, err)
		}
		if first := p.d.c.cfg.First; first > 0 && p.plan.Chunks == first {
			break
		}
		if p.plan.Chunks > job.MaxPlanned {
			return job.WithClass(fmt.Errorf("the job has more than %d chunks; use a larger source.chunk", uint64(job.MaxPlanned)), job.Permanent)
		}
		if err := p.window.enter(ctx); err != nil {
			return err
		}
		c := job.Chunk{Job: p.d.id, Ordinal: p.plan.Chunks, Bytes: planned.Bytes, Input: planned.Input}
		planning, span := p.d.c.Traces.Begin(ctx, "plan", trace.Internal, trace.Of{Chunk: &c, Began: begun})
		err := p.d.publish(planning, c)
		span.End(err)
		if err != nil {
			return fmt.Errorf("publishing chunk %d: %w", c.Ordinal, err)
		}
		p.d.c.Metrics.Planned()
		if err := p.d.c.Faults.At(fault.Planned); err != nil {
			return err
		}
		p.plan.Chunks++
		p.plan.Bytes += planned.Bytes
		p.plan.Cursor = planned.Cursor
		p.plan.Inputs = planned.Inputs
		p.moved(p.plan)
		begun = time.Now()
	}
	p.plan.Complete = true
	p.moved(p.plan)
	return nil
}

// publish queues a chunk, and waits while the queue is full.
func (d *driver) publish(ctx context.Context, c job.Chunk) (err error) {
	begun := time.Now()
	ctx, span := d.c.Traces.Begin(ctx, "publish "+queue.WorkDestination, trace.Producer, trace.Of{Chunk: &c, Queue: queue.WorkDestination})
	defer func() {
		d.c.Metrics.Step(metrics.Enqueue, time.Since(begun))
		span.End(err)
	}()
	if encoded, err := json.Marshal(c); err != nil {
		return err
	} else if len(encoded) > job.MaxDescriptor {
		return job.WithClass(fmt.Errorf("its descriptor has %d bytes, it may have %d", len(encoded), job.MaxDescriptor), job.Permanent)
	}
	for {
		err := d.c.Queue.PublishChunk(ctx, c)
		switch {
		case err == nil, errors.Is(err, queue.ErrExists):
			return nil
		case errors.Is(err, queue.ErrFull), job.ClassOf(err) == job.Retry:
			pause(ctx, retryEvery)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		default:
			return err
		}
	}
}
