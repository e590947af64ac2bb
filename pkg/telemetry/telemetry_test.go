package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"drayage/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A service lives from the start and is ready while every check passes.
func TestEndpoints(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var broken atomic.Bool
	checks := map[string]telemetry.Check{
		"good": func(context.Context) error { return nil },
		"nats": func(context.Context) error {
			if broken.Load() {
				return errors.New("no servers")
			}
			return nil
		},
	}
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") })
	addr, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- telemetry.Endpoints{Checks: checks, Metrics: metrics}.Serve(ctx, "127.0.0.1:0", func(a net.Addr) { addr <- a })
	}()
	base := "http://" + (<-addr).String()
	get := func(path string) (int, string) {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if code, body := get("/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("healthz: %d %q", code, body)
	}
	if code, body := get("/readyz"); code != 200 || !strings.Contains(body, `"ready":true`) {
		t.Errorf("readyz: %d %q", code, body)
	}
	if code, body := get("/metrics"); code != 200 || body != "up 1\n" {
		t.Errorf("metrics: %d %q", code, body)
	}
	if code, _ := get("/other"); code != 404 {
		t.Errorf("another path: %d", code)
	}
	broken.Store(true)
	if code, body := get("/readyz"); code != 503 || !strings.Contains(body, `"nats":"no servers"`) || strings.Contains(body, "good") {
		t.Errorf("readyz when broken: %d %q", code, body)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("healthz when broken: %d", code)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if err := (telemetry.Endpoints{}).Serve(t.Context(), "256.0.0.1:1", nil); err == nil || !strings.Contains(err.Error(), "DRAY_HTTP_ADDR") {
		t.Errorf("a bad address: %v", err)
	}
}

func TestNewLogger(t *testing.T) {
	var out bytes.Buffer
	log, err := telemetry.NewLogger(telemetry.LogConfig{Level: "debug"}, zerolog.ErrorLevel, &out)
	if err != nil {
		t.Fatal(err)
	}
	log.Debug().Str("job", "j").Msg("hello")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["job"] != "j" || line["level"] != "debug" {
		t.Errorf("it wrote %q (%v)", out.String(), err)
	}
	out.Reset()
	if log, err = telemetry.NewLogger(telemetry.LogConfig{}, zerolog.WarnLevel, &out); err != nil {
		t.Fatal(err)
	}
	if log.Info().Msg("quiet"); out.Len() != 0 {
		t.Errorf("below its level it wrote %q", out.String())
	}
	for _, bad := range []telemetry.LogConfig{{Level: "loud"}, {Format: "xml"}} {
		if _, err := telemetry.NewLogger(bad, zerolog.InfoLevel, &out); err == nil {
			t.Errorf("accepted %+v", bad)
		}
	}
}
