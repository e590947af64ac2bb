package engine

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// TestMain lets the test binary be the child of the engines that it starts, and
// checks that the tests leave no goroutine behind.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "engine" {
		if err := ServeFromEnv(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// start starts an engine of the test's own.
func start(t *testing.T, cfg Config) *Process {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = t.Name()
	}
	cfg.Log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	p, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("start an engine: %v", err)
	}
	t.Cleanup(func() {
		if _, err := p.Close(); err != nil {
			t.Errorf("close the engine: %v", err)
		}
	})
	return p
}

// run runs a statement that must not fail.
func run(t *testing.T, c *Client, sql string) Summary {
	t.Helper()
	sum, err := c.Exec(t.Context(), Statement{SQL: sql})
	if err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
	return sum
}

// text is the output of a statement that must not fail, as TSV.
func text(t *testing.T, c *Client, sql string) string {
	t.Helper()
	out, err := output(t.Context(), c, Statement{SQL: sql})
	if err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
	return out
}
