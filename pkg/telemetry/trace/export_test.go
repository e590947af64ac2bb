package trace_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"drayage/pkg/telemetry/trace"
)

// Spans come to a collector as OTLP over HTTP, with the headers that were asked
// for, and again when it was busy.
func TestExport(t *testing.T) {
	var asked atomic.Int32
	got := make(chan *tracepb.TracesData, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path != "/v1/traces" || r.Header.Get("Authorization") != "Bearer a b" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		body, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		var spans tracepb.TracesData
		if err := proto.Unmarshal(data, &spans); err != nil {
			t.Error(err)
		}
		got <- &spans
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a%20b")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	t.Setenv("OTEL_SERVICE_NAME", "mine")
	tr, err := trace.FromEnv(t.Context(), trace.Service{Name: "dray"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	_, span := tr.Begin(t.Context(), "freeze", trace.Internal, trace.Of{Job: "j"})
	span.End(errors.New("no"))
	tr.Close()
	spans := (<-got).ResourceSpans
	if len(spans) != 1 || len(spans[0].ScopeSpans) != 1 || spans[0].ScopeSpans[0].Spans[0].Name != "freeze" {
		t.Fatalf("it sent %v", spans)
	}
	for _, a := range spans[0].Resource.Attributes {
		if a.Key == "service.name" && a.Value.GetStringValue() != "mine" {
			t.Errorf("the service is %v", a.Value)
		}
	}
}

// What can not be delivered is told in the log, without what is secret.
func TestExportErr(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "the key hunter2 is unknown")
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", strings.Replace(server.URL, "://", "://user:hunter2@", 1)+"/v1/traces?key=hunter2")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hunter2")
	var out bytes.Buffer
	tr, err := trace.FromEnv(t.Context(), trace.Service{Name: "dray"}, zerolog.New(&out))
	if err != nil {
		t.Fatal(err)
	}
	_, span := tr.Begin(t.Context(), "freeze", trace.Internal, trace.Of{})
	span.End(nil)
	tr.Close()
	if text := out.String(); !strings.Contains(text, "403") || !strings.Contains(text, `"spans":1`) || strings.Contains(text, "hunter2") {
		t.Errorf("it logged %s", text)
	}
	for name, bad := range map[string]string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector:4318", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=%hunter2",
		"OTEL_EXPORTER_OTLP_TIMEOUT": "soon", "OTEL_EXPORTER_OTLP_COMPRESSION": "br",
		"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/nowhere",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, bad)
			_, err := trace.FromEnv(t.Context(), trace.Service{Name: "dray"}, zerolog.Nop())
			if err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
		})
	}
}
