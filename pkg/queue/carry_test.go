package queue_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

func spanning(t *testing.T, state string) context.Context {
	t.Helper()
	id, err := trace.TraceIDFromHex(traceID)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := trace.ParseTraceState(state)
	if err != nil {
		t.Fatal(err)
	}
	return trace.ContextWithSpanContext(ctx(t), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled, TraceState: parsed,
	}))
}

// A chunk and a submission carry the trace that they were made in, at every
// delivery.
func TestTraceIsCarried(t *testing.T) {
	t.Parallel()
	b := setup(t, "", nil)
	if err := b.q.Ensure(ctx(t)); err != nil {
		t.Fatal(err)
	}
	p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: 20 * time.Second})
	if err := b.q.PublishChunk(spanning(t, "vendor=1"), chunk("j", 0)); err != nil {
		t.Fatal(err)
	}
	for attempt := 1; attempt <= 2; attempt++ {
		d := b.next(p)
		got := trace.SpanContextFromContext(d.Context(ctx(t)))
		if got.TraceID().String() != traceID || !got.IsRemote() || !got.IsSampled() || got.TraceState().String() != "vendor=1" || d.Attempt() != attempt {
			t.Errorf("attempt %d has %+v", d.Attempt(), got)
		}
		end := job.Verdict{Kind: job.VerdictRetry, After: time.Millisecond}
		if attempt == 2 {
			end = job.Verdict{Kind: job.VerdictDone}
		}
		b.settle(d, end)
	}
	// What others add is left out where a chunk might not fit in its message.
	if err := b.q.PublishChunk(spanning(t, "vendor="+strings.Repeat("x", 250)+",other="+strings.Repeat("y", 250)+",third="+strings.Repeat("z", 250)), chunk("j", 1)); err != nil {
		t.Fatal(err)
	}
	d := b.next(p)
	if got := trace.SpanContextFromContext(d.Context(ctx(t))); got.TraceID().String() != traceID || got.TraceState().Len() != 0 {
		t.Errorf("a long state came as %+v", got)
	}

	in, err := b.q.Submissions(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	take := func() trace.SpanContext {
		t.Helper()
		s, err := in.Next(ctx(t), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Ack(ctx(t)); err != nil {
			t.Fatal(err)
		}
		return trace.SpanContextFromContext(s.Context(ctx(t)))
	}
	if err := b.q.Submit(spanning(t, ""), job.Submission{Pipeline: "x"}); err != nil {
		t.Fatal(err)
	}
	if got := take(); got.TraceID().String() != traceID {
		t.Errorf("a submission has %+v", got)
	}
	if err := b.q.Submit(ctx(t), job.Submission{Pipeline: "x"}); err != nil {
		t.Fatal(err)
	}
	if got := take(); got.IsValid() {
		t.Errorf("a submission of no trace has %+v", got)
	}
	// One by hand, with the header as HTTP would write it.
	nc, _ := b.raw()
	if err := nc.PublishMsg(&nats.Msg{Subject: "dray.jobs.submit", Data: []byte(`{"pipeline":"x"}`), Header: nats.Header{"Traceparent": {"00-" + traceID + "-00f067aa0ba902b7-01"}}}); err != nil {
		t.Fatal(err)
	}
	if got := take(); got.TraceID().String() != traceID {
		t.Errorf("a submission by hand has %+v", got)
	}
}
