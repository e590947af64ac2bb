package worker

import (
	"context"
	"errors"

	"github.com/rs/zerolog"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
)

// measure begins a step of a chunk's way.
func (w *Worker) measure(ctx context.Context, name metrics.Step, of trace.Of) (inner context.Context, end func(error)) {
	return telemetry.Measure(ctx, w.metrics, w.traces, name, of)
}

// follow counts a delivery and begins its span, in the trace that the chunk was
// queued in, whichever attempt it is. The function is called with what became of
// it.
func (s *slot) follow(ctx context.Context, d *queue.Delivery) (inner context.Context, over func(job.Verdict)) {
	c := d.Chunk()
	settled := s.w.metrics.Delivered(d.Attempt())
	ctx, span := s.w.traces.Begin(d.Context(ctx), "process "+queue.WorkDestination, trace.Consumer, trace.Of{
		Chunk: &c, Attempt: d.Attempt(), Worker: s.w.cfg.ID, Queue: queue.WorkDestination,
	})
	return ctx, func(v job.Verdict) {
		settled(v.Kind)
		span.Text("verdict", v.Kind.String())
		span.End(v.Err)
	}
}

// logger logs about an attempt of a chunk.
func (w *Worker) logger(ctx context.Context, c job.Chunk, attempt int) zerolog.Logger {
	about := w.log.With().Str("job", c.Job).Uint64("chunk", c.Ordinal).Int("attempt", attempt)
	if id := trace.ID(ctx); id != "" {
		about = about.Str("trace_id", id)
	}
	return about.Logger()
}

// record records the result, if nobody was first.
func (s *slot) record(ctx context.Context, r job.Result) error {
	ctx, end := s.w.measure(ctx, metrics.Record, trace.Of{})
	err := s.w.q.RecordResult(ctx, r)
	switch {
	case err == nil:
		s.w.metrics.Recorded(r)
	case errors.Is(err, queue.ErrExists):
		err = nil
	}
	end(err)
	return err
}

// settle acknowledges the delivery as the verdict asks for.
func (s *slot) settle(ctx context.Context, d *queue.Delivery, v job.Verdict) error {
	ctx, end := s.w.measure(ctx, metrics.Ack, trace.Of{})
	err := d.Settle(ctx, v)
	end(err)
	return err
}

// inserted counts an INSERT that failed, but for one that nobody waits for any
// more.
func (s *slot) inserted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil {
		s.w.metrics.InsertFailed(clickhouse.ErrorLabel(err))
	}
	return err
}
