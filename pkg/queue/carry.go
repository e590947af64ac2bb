package queue

import (
	"context"
	"net/http"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// What the queues are called in traces, as the destination of a message.
const (
	SubmitDestination = subjectSubmit
	WorkDestination   = "dray.work"
)

// maxTraceState bounds what other tracers add to the context of a trace, in
// bytes: beyond it a chunk might not fit in its message. W3C asks for as much.
const maxTraceState = 512

// headers are those of a message, for the W3C trace context: traceparent and
// tracestate, written in small letters, read in any.
type headers nats.Header

// Get implements propagation.TextMapCarrier.
func (h headers) Get(key string) string {
	if v := nats.Header(h).Get(key); v != "" {
		return v
	}
	return http.Header(h).Get(key)
}

// Set implements propagation.TextMapCarrier.
func (h headers) Set(key, value string) {
	if key == "tracestate" && len(value) > maxTraceState {
		return
	}
	nats.Header(h).Set(key, value)
}

// Keys implements propagation.TextMapCarrier.
func (h headers) Keys() []string {
	all := make([]string, 0, len(h))
	for key := range h {
		all = append(all, key)
	}
	return all
}

// inject adds the trace of ctx to the headers of a message, if there is one.
func inject(ctx context.Context, h nats.Header) nats.Header {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return h
	}
	if h == nil {
		h = nats.Header{}
	}
	propagation.TraceContext{}.Inject(ctx, headers(h))
	return h
}

// extract is ctx with the trace that the headers of a message name.
func extract(ctx context.Context, h nats.Header) context.Context {
	if len(h) == 0 {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, headers(h))
}

// Context is ctx with the trace that the chunk was queued in, if any: the same at
// each delivery.
func (d *Delivery) Context(ctx context.Context) context.Context { return extract(ctx, d.header) }

// Context is ctx with the trace that the submission was made in, if any: whoever
// publishes one by hand may give it the W3C header traceparent.
func (s *Incoming) Context(ctx context.Context) context.Context { return extract(ctx, s.header) }
