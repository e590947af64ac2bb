package api_test

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"drayage/coordinator/api"
	"drayage/pkg/local"
)

// The commands of docs/api.md, one after another, do what the page says.
func TestDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	var script bytes.Buffer
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllSubmatch(page, -1)
	for _, b := range blocks {
		script.Write(b[1])
	}
	if len(blocks) < 8 {
		t.Fatalf("there are %d blocks of commands", len(blocks))
	}
	trial := local.Trial{Config: stack.Config, ClickHouse: stack.ClickHouse, Engine: stack.Engine.Client(), Log: zerolog.Nop()}
	trying := api.New(api.Deps{Queue: stack.Queue, ClickHouse: stack.ClickHouse, Log: zerolog.Nop(), Trier: trial})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = trying.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	cfg := config()
	cfg.Tokens = "admin:docs:" + adminToken
	s, err := api.NewServer(cfg, "127.0.0.1:0", api.ServerDeps{Service: trying, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	dir := inputs(t, 2)
	token := filepath.Join(t.TempDir(), "token")
	for path, text := range map[string]string{token: adminToken + "\n", filepath.Join(dir, "flights.yaml"): "params: {since: \"2000-01-01\"}\n" + pipe("flights", "docs_api")} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-eu")
	cmd.Dir, cmd.Stdin = dir, &script
	cmd.Env = append(os.Environ(), "DRAY_HTTP_URL="+h.URL, "DRAY_HTTP_TOKEN_FILE="+token)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, part := range []string{`"job":"flights-backfill-1"`, `"valid":true`, `"rows":[[0,"row 0"]`, `"state":"DONE"`, `"workers":[{`, "event: job"} {
		if !strings.Contains(string(out), part) {
			t.Errorf("it did not say %s:\n%s", part, out)
		}
	}
}
