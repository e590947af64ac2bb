package clickhouse

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traced gives a request the trace of its context, if it has one: the server
// then writes its spans of it to system.opentelemetry_span_log.
func traced(req *http.Request) *http.Request {
	if !spanOf(req.Context()).IsValid() {
		return req
	}
	req = req.Clone(req.Context())
	propagation.TraceContext{}.Inject(req.Context(), propagation.HeaderCarrier(req.Header))
	return req
}

// spanOf is where in a trace a statement is run.
func spanOf(ctx context.Context) trace.SpanContext { return trace.SpanContextFromContext(ctx) }
