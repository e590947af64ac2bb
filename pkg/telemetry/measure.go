package telemetry

import (
	"context"
	"time"

	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
)

// Meter takes in how long steps and waits took: metrics.Worker or metrics.Coordinator.
type Meter interface {
	Step(name metrics.Step, d time.Duration)
	Waited(what metrics.Wait, d time.Duration)
}

// Measure begins a step, which is measured and traced under its name. The
// context is that of what happens within; end is called once, with how it ended.
func Measure(ctx context.Context, m Meter, t *trace.Tracer, name metrics.Step, of trace.Of) (inner context.Context, end func(error)) {
	begun := time.Now()
	kind := trace.Internal
	if of.Table != "" {
		kind = trace.Client
	}
	ctx, span := t.Begin(ctx, string(name), kind, of)
	return ctx, func(err error) {
		m.Step(name, time.Since(begun))
		span.End(err)
	}
}

// Seats is take, a source.Seats, with the wait for each seat measured.
func Seats(m Meter, take func(context.Context) (context.Context, func(), error)) func(context.Context) (context.Context, func(), error) {
	return func(ctx context.Context) (context.Context, func(), error) {
		begun := time.Now()
		held, release, err := take(ctx)
		m.Waited(metrics.Seat, time.Since(begun))
		return held, release, err
	}
}
