package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"drayage/pkg/engine"
	"drayage/pkg/source"
	"drayage/pkg/testkit"
)

// eng is the real engine that the tests of the package share.
var eng *engine.Client

func TestMain(m *testing.M) {
	testkit.WithEngine(m, func(c *engine.Client) { eng = c })
}

// serve starts an API.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return srv.URL
}

// sendJSON answers with a text as JSON.
func sendJSON(w http.ResponseWriter, text string, args ...any) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, text, args...)
}

// clock is what a source waits by in tests: it notes, and does not wait.
type clock struct{ waits []time.Duration }

func open(t *testing.T, cfg Config) (*Source, *clock) {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{}
	s.sleep = func(ctx context.Context, d time.Duration) error {
		c.waits = append(c.waits, d)
		return ctx.Err()
	}
	return s, c
}

func planned(t *testing.T, s *Source, cursor json.RawMessage) []source.Planned {
	t.Helper()
	var all []source.Planned
	for p, err := range s.Plan(t.Context(), cursor, nil) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// read reads all chunks, as lines.
func read(t *testing.T, s *Source) (string, error) {
	t.Helper()
	var all strings.Builder
	for _, p := range planned(t, s, nil) {
		in, err := s.Open(t.Context(), p.Input, nil)
		if err != nil {
			return all.String(), err
		}
		_, err = io.Copy(&all, in.Reader)
		if err = errors.Join(in.Close(), err); err != nil {
			return all.String(), err
		}
	}
	return all.String(), nil
}
