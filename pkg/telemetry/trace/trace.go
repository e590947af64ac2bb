// Package trace follows a job over all processes that work on it, with
// OpenTelemetry: from submit through intake, plan, chunks and their INSERTs to the
// verification. All spans of a job are one trace. It is the only user of the
// OpenTelemetry SDK.
//
// It is off unless the environment names where traces go. Then a nil *Tracer does
// all that this package does: nothing, without allocating.
package trace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	oteltrace "go.opentelemetry.io/otel/trace"

	"drayage/pkg/job"
)

// Service says what this process is.
type Service struct {
	Name     string // dray-coordinator, dray-worker, dray
	Version  string
	Instance string // which of them
}

// Tracer begins spans. nil: tracing is off.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   oteltrace.Tracer
}

// FromEnv makes the Tracer that the standard variables ask for, nil when they
// name no endpoint (OTEL_EXPORTER_OTLP_ENDPOINT or …_TRACES_ENDPOINT), or turn it
// off (OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER=none). OTEL_TRACES_SAMPLER,
// OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME, the OTEL_BSP_… limits of what is
// held in memory and the other OTEL_EXPORTER_OTLP_… of OTLP over HTTP count as
// the specification says. It connects to nothing. Where spans can not be
// delivered, that is logged, and they are lost. End it with Close.
func FromEnv(ctx context.Context, s Service, log zerolog.Logger) (*Tracer, error) {
	if !asked() {
		return nil, nil //nolint:nilnil // off
	}
	if protocol := first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q; only http/protobuf is spoken", protocol)
	}
	c, err := clientFromEnv()
	if err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("preparing to export traces: %w", err)
	}
	return New(ctx, s, sdktrace.WithBatcher(reported{exporter, log}))
}

func asked() bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	switch os.Getenv("OTEL_TRACES_EXPORTER") {
	case "", "otlp":
		return first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") != ""
	}
	return false
}

// first is the first of some variables that is set.
func first(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}

// New makes a Tracer whose spans go where the option says.
func New(ctx context.Context, s Service, to sdktrace.TracerProviderOption) (*Tracer, error) {
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithAttributes(semconv.ServiceName(s.Name), semconv.ServiceVersion(s.Version), semconv.ServiceInstanceID(s.Instance)),
		resource.WithFromEnv(), // last: it outranks the others
	)
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describing this process for traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(to, sdktrace.WithResource(about))
	return &Tracer{provider, provider.Tracer("drayage")}, nil
}

// reported logs what its exporter could not deliver. Without it the SDK would
// tell a handler that is the same for the whole process.
type reported struct {
	sdktrace.SpanExporter
	log zerolog.Logger
}

// ExportSpans implements sdktrace.SpanExporter.
func (r reported) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := r.SpanExporter.ExportSpans(ctx, spans); err != nil {
		r.log.Warn().Err(err).Int("spans", len(spans)).Msg("traces could not be delivered and are lost")
	}
	return nil
}

// closeWait bounds the delivery of the last spans.
const closeWait = 5 * time.Second

// Close delivers the spans that are left, within five seconds.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // what could not be delivered was logged
}

// Kind is a span's, in OpenTelemetry's words.
type Kind int

// The kinds of span.
const (
	Internal Kind = iota
	Producer      // a message is published
	Consumer      // a message is worked on
	Client        // somebody else is asked
)

func (k Kind) otel() oteltrace.SpanKind {
	return [...]oteltrace.SpanKind{
		oteltrace.SpanKindInternal, oteltrace.SpanKindProducer, oteltrace.SpanKindConsumer, oteltrace.SpanKindClient,
	}[k]
}

// Of is what a span is about. It is a value, so that to name it costs nothing
// where tracing is off.
type Of struct {
	Job, Pipeline string
	Chunk         *job.Chunk // nil: the job as a whole
	Attempt       int        // of the chunk; 0: none
	Worker        string
	Queue         string // the subject's beginning, of Producer and Consumer
	Table         string // of an INSERT, with its database
	Began         time.Time
}

// Span is a step that is traced. Of the zero Span nothing is.
type Span struct{ span oteltrace.Span }

// Begin begins a span below the one of ctx, or a trace. The context is that of
// what happens within. Where tracing is off, ctx comes back as it is: what it
// carries from another process is carried on.
func (t *Tracer) Begin(ctx context.Context, name string, kind Kind, of Of) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	if of.Table != "" { // the conventions' name for what a database is asked
		name = "INSERT " + of.Table
	}
	options := []oteltrace.SpanStartOption{oteltrace.WithSpanKind(kind.otel()), oteltrace.WithAttributes(of.attributes(kind)...)}
	if !of.Began.IsZero() {
		options = append(options, oteltrace.WithTimestamp(of.Began))
	}
	ctx, span := t.tracer.Start(ctx, name, options...)
	return ctx, Span{span}
}

// Names of our own attributes; the others are those of the semantic conventions.
const (
	attrJob        = attribute.Key("drayage.job")
	attrPipeline   = attribute.Key("drayage.pipeline")
	attrChunk      = attribute.Key("drayage.chunk")
	attrGeneration = attribute.Key("drayage.generation")
	attrAttempt    = attribute.Key("drayage.attempt")
	attrWorker     = attribute.Key("drayage.worker")
)

func (o Of) attributes(kind Kind) []attribute.KeyValue {
	all := make([]attribute.KeyValue, 0, 8)
	text := func(key attribute.Key, value string) {
		if value != "" {
			all = append(all, key.String(value))
		}
	}
	text(attrJob, o.Job)
	text(attrPipeline, o.Pipeline)
	text(attrWorker, o.Worker)
	if c := o.Chunk; c != nil {
		all = append(all, attrJob.String(c.Job), attrChunk.Int64(int64(c.Ordinal)), attrGeneration.Int64(int64(c.Generation))) //nolint:gosec // ordinals are below 2³²
	}
	if o.Attempt > 0 {
		all = append(all, attrAttempt.Int(o.Attempt))
	}
	if o.Queue != "" {
		all = append(all, semconv.MessagingSystemKey.String("nats"), semconv.MessagingDestinationName(o.Queue))
		switch kind {
		case Producer:
			all = append(all, semconv.MessagingOperationTypeSend, semconv.MessagingOperationName("publish"))
		case Consumer:
			all = append(all, semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName("process"))
		}
	}
	if o.Table != "" {
		all = append(all, semconv.DBSystemNameClickHouse, semconv.DBOperationName("INSERT"), semconv.DBCollectionName(o.Table))
	}
	return all
}

// Text notes a fact of the span.
func (s Span) Text(key, value string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String("drayage."+key, value))
	}
}

// Count is Text for a number.
func (s Span) Count(key string, n uint64) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int64("drayage."+key, int64(n))) //nolint:gosec // rows and bytes
	}
}

// Parent is the W3C traceparent of the span, "" of the zero Span.
func (s Span) Parent() string {
	if s.span == nil {
		return ""
	}
	return Parent(oteltrace.ContextWithSpan(context.Background(), s.span))
}

// maxError bounds the text of an error in a span, in bytes.
const maxError = 1 << 10

// End ends the span. An error is its status, with its class (job.ClassOf) as its
// type; its text must hold no secret, as that of no error of ours does.
func (s Span) End(err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		text := err.Error()
		if len(text) > maxError {
			text = strings.ToValidUTF8(text[:maxError], "")
		}
		s.span.SetStatus(codes.Error, text)
		s.span.SetAttributes(semconv.ErrorTypeKey.String(job.ClassOf(err).String()))
	}
	s.span.End()
}
