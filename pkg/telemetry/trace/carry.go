package trace

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// header is the W3C header that names the span which something comes from.
const header = "traceparent"

// Parent is the traceparent of the span of ctx, "" when there is none. It is what
// a job's record carries for the coordinators that lead the job later.
func Parent(ctx context.Context) string {
	if !oteltrace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[header]
}

// WithParent is ctx with the span that a traceparent names as the one that spans
// begin below; "" and what is none leave ctx as it is.
func WithParent(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{header: traceparent})
}

// FromHTTP is ctx with the span that a request comes from, if it says so.
func FromHTTP(ctx context.Context, h http.Header) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(h))
}

// ID is the identifier of the trace of ctx, for the log; "" without one.
func ID(ctx context.Context) string {
	if c := oteltrace.SpanContextFromContext(ctx); c.HasTraceID() {
		return c.TraceID().String()
	}
	return ""
}
