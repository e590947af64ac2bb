package trace_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"

	"drayage/pkg/job"
	"drayage/pkg/telemetry/trace"

	"github.com/rs/zerolog"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// The variables of the specification decide whether there is a Tracer.
func TestFromEnv(t *testing.T) {
	for name, test := range map[string]struct {
		env map[string]string
		on  bool
		bad bool
	}{
		"nothing":           {},
		"endpoint":          {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, on: true},
		"endpoint of its":   {env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, on: true},
		"disabled":          {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}},
		"no exporter":       {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}},
		"another protocol":  {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, bad: true},
		"only a sampler":    {env: map[string]string{"OTEL_TRACES_SAMPLER": "always_on"}},
		"only a bad sample": {env: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range test.env {
				t.Setenv(key, value)
			}
			tr, err := trace.FromEnv(t.Context(), trace.Service{Name: "dray"}, zerolog.Nop())
			if (tr != nil) != test.on || (err != nil) != test.bad {
				t.Errorf("tracer %v, error %v", tr, err)
			}
			tr.Close() // of none too
		})
	}
}

// OTEL_TRACES_SAMPLER decides what is recorded.
func TestSampler(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	kept := tracetest.NewInMemoryExporter()
	tr, err := trace.New(t.Context(), trace.Service{Name: "dray"}, sdktrace.WithSyncer(kept))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	_, span := tr.Begin(t.Context(), "a", trace.Internal, trace.Of{})
	span.End(nil)
	if n := len(kept.GetSpans()); n != 0 {
		t.Errorf("%d spans were recorded", n)
	}
}

// A span says what it is about, what went wrong, and whence it comes.
func TestSpan(t *testing.T) {
	t.Parallel()
	kept := tracetest.NewInMemoryExporter()
	tr, err := trace.New(t.Context(), trace.Service{Name: "dray-worker", Version: "v1", Instance: "w1"}, sdktrace.WithSyncer(kept))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	ctx := trace.WithParent(t.Context(), parent)
	ctx, span := tr.Begin(ctx, "process dray.work", trace.Consumer, trace.Of{Chunk: &job.Chunk{Job: "j", Ordinal: 7}, Attempt: 2, Queue: "dray.work"})
	span.Count("rows_loaded", 5)
	span.End(job.WithClass(errors.New("too many parts"), job.SlowDown))
	if trace.ID(ctx) != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("the trace is %s", trace.ID(ctx))
	}
	spans := kept.GetSpans()
	if len(spans) != 1 {
		t.Fatalf("%d spans", len(spans))
	}
	s := spans[0]
	if s.Parent.SpanID().String() != "00f067aa0ba902b7" || s.SpanKind != oteltrace.SpanKindConsumer || s.Status.Code != codes.Error || s.Status.Description != "too many parts" {
		t.Errorf("the span is %+v", s)
	}
	facts := map[string]string{}
	for _, a := range append(s.Attributes, s.Resource.Attributes()...) {
		facts[string(a.Key)] = a.Value.String()
	}
	for key, want := range map[string]string{
		"drayage.job": "j", "drayage.chunk": "7", "drayage.attempt": "2", "drayage.rows_loaded": "5", "error.type": "slow_down",
		"messaging.system": "nats", "messaging.destination.name": "dray.work", "messaging.operation.type": "process",
		"service.name": "dray-worker", "service.version": "v1", "service.instance.id": "w1",
	} {
		if facts[key] != want {
			t.Errorf("%s is %q, want %q", key, facts[key], want)
		}
	}
}

// What comes from elsewhere is carried on, also where nothing is recorded.
func TestCarry(t *testing.T) {
	t.Parallel()
	ctx := trace.FromHTTP(t.Context(), http.Header{"Traceparent": {parent}})
	var off *trace.Tracer
	ctx, span := off.Begin(ctx, "a", trace.Internal, trace.Of{})
	span.End(errors.New("nobody sees it"))
	if got := trace.Parent(ctx); got != parent {
		t.Errorf("%q became %q", parent, got)
	}
	for _, bad := range []string{"", "00-0-0-00", "nonsense"} {
		if got := trace.Parent(trace.WithParent(t.Context(), bad)); got != "" {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

// Where tracing is off, a step costs no allocation.
func TestOffCostsNothing(t *testing.T) {
	var off *trace.Tracer
	ctx, c := context.Background(), job.Chunk{Job: "j"}
	if n := testing.AllocsPerRun(100, func() {
		ctx, span := off.Begin(ctx, "load", trace.Client, trace.Of{Chunk: &c, Attempt: 1, Table: "t"})
		span.Count("rows_loaded", 1)
		_ = trace.ID(ctx) + trace.Parent(ctx)
		span.End(nil)
	}); n != 0 {
		t.Errorf("it allocates %v times", n)
	}
}

func BenchmarkOff(b *testing.B) {
	var off *trace.Tracer
	ctx, c := context.Background(), job.Chunk{Job: "j"}
	for b.Loop() {
		_, span := off.Begin(ctx, "load", trace.Client, trace.Of{Chunk: &c, Attempt: 1, Table: "t"})
		span.End(nil)
	}
}
