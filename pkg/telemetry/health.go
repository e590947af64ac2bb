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

// ServeHealth serves /healthz (the process lives) and /readyz (every check
// passes; else 503 and a JSON object of what fails) on addr until ctx ends. It
// calls ready with the address once it listens.
func ServeHealth(ctx context.Context, addr string, checks map[string]Check, ready func(net.Addr)) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), checkWait)
		defer cancel()
		failing := map[string]string{}
		for name, check := range checks {
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
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listening for health checks (DRAY_HTTP_ADDR=%s): %w", addr, err)
	}
	if ready != nil {
		ready(listener.Addr())
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: checkWait, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving health checks: %w", err)
	}
	return nil
}
