package cli_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A coordinator that is away for a moment is asked again, when a key says that
// asking twice is one job, and a wait goes on.
func TestPublishJobScriptAsksAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte("pipeline: p\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var posts, gets atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && posts.Add(1) == 1, r.Method == http.MethodGet && gets.Add(1) == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"detail":"NATS is away"}`)
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusOK)
			fmt.Fprint(w, `{"job":"p-1","state":"RUNNING"}`)
		default:
			fmt.Fprint(w, `{"job":"p-1","state":"FAILED","error":"line 2: \"x\"\nis wrong","text":"\"state\":\"DONE\""}`)
		}
	}))
	defer server.Close()
	env := []string{"DRAY_HTTP_URL=" + server.URL}
	if _, stderr, code := publish(t, "sh", env, file, "--key", "1", "--wait"); code != 1 || !strings.Contains(stderr, "line 2: \"x\"\nis wrong") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	posts.Store(0)
	if _, stderr, code := publish(t, "sh", env, file); code != 3 || !strings.Contains(stderr, "NATS is away") || posts.Load() != 1 {
		t.Errorf("without a key: exit %d after %d requests: %s", code, posts.Load(), stderr)
	}
}

// publish runs the script in a shell.
func publish(t *testing.T, shell string, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), shell, append([]string{filepath.Join("..", "..", "scripts", "publish-job.sh")}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil && cmd.ProcessState == nil {
		t.Fatal(e)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}
