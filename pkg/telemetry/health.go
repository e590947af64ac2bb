package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Check tells whether one thing that a service needs works now; nil when it does.
type Check func(ctx context.Context) error

// checkWait bounds all the checks of one request together.
const checkWait = 5 * time.Second

// Endpoints are what a service answers to those who look after it.
type Endpoints struct {
	Checks  map[string]Check // of /readyz
	Metrics http.Handler     // of /metrics; nil: there is none
}

// Handler answers GET and HEAD of /healthz (the process lives), /readyz (every
// check passes; else 503 and a JSON object of what fails) and /metrics
// (Prometheus), and nothing else. None of them shows data or a secret, so that a
// server may give them without a token.
func (e Endpoints) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), checkWait)
		defer cancel()
		failing := map[string]string{}
		for name, check := range e.Checks {
			if err := check(ctx); err != nil {
				failing[name] = err.Error()
			}
		}
		w.Header().Set("Content-Type", "application/json")
		if len(failing) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"ready": len(failing) == 0, "failing": failing})
	})
	if e.Metrics != nil {
		mux.Handle("GET /metrics", e.Metrics)
	}
	return mux
}

// Serve serves the endpoints on addr until ctx ends. It calls ready with the
// address once it listens.
func (e Endpoints) Serve(ctx context.Context, addr string, ready func(net.Addr)) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listening for health checks (DRAY_HTTP_ADDR=%s): %w", addr, err)
	}
	if ready != nil {
		ready(listener.Addr())
	}
	server := &http.Server{Handler: e.Handler(), ReadHeaderTimeout: checkWait, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving health checks: %w", err)
	}
	return nil
}
