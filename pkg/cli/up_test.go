package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/local"
	"drayage/pkg/queue"
)

// served is a dray up, and what the tests that share it have put into it.
type served struct {
	process *process
	dir     string // of the pipelines
	data    string
	env     []string // of the other verbs
	up      local.Endpoint
}

// serve starts a dray up.
func serve(t *testing.T) *served {
	t.Helper()
	s := &served{dir: t.TempDir()}
	s.data = filepath.Join(s.dir, "data")
	s.env = []string{"DRAY_DATA_DIR=" + s.data, "NO_COLOR=1"}
	s.begin(t)
	return s
}

func (s *served) begin(t *testing.T) {
	t.Helper()
	s.process = start(t, append(s.env, "DRAY_HTTP_ADDR=127.0.0.1:0", "DRAY_ACCOUNT_EVERY=100ms", "DRAY_LEASE=2s"), "up", "--slots", "2")
	eventually(t, "dray is up", func() bool { return strings.Contains(s.process.log.String(), "dray is up") })
	text, err := os.ReadFile(filepath.Join(s.data, "up.json"))
	if err != nil {
		t.Fatal(err)
	}
	s.up = local.Endpoint{}
	if err := json.Unmarshal(text, &s.up); err != nil {
		t.Fatal(err)
	}
}

// One process serves a whole Drayage, and the verbs in its data folder use it;
// nobody else on the machine can.
func TestUp(t *testing.T) {
	t.Parallel()
	s := serve(t)
	file := numbers(t, s.dir, "served", 1000, "2048")
	t.Run("verbs", func(t *testing.T) {
		expect(t, s.env, []string{"submit", file, "--key", "1", "--wait"}, 0, "served-1: done", "900 rows")
		expect(t, s.env, []string{"sql", "SELECT count() FROM served", "-f", "TabSeparated"}, 0, "900")
		expect(t, s.env, []string{"verify", "last"}, 0, "900")
		expect(t, s.env, []string{"validate", file}, 0, "exists and fits")
		expect(t, s.env, []string{"run", file}, 3, "dray up", "dray submit")
		expect(t, s.env, []string{"up"}, 3, "dray up", "DRAY_DATA_DIR")
		expect(t, append(s.env, "DRAY_NATS_URL="+s.up.NATS), []string{"jobs"}, 0, "served-1")
		expect(t, append(s.env, "DRAY_NATS_URL="+s.up.NATS), []string{"up"}, 2, "has a NATS of its own")
		expect(t, s.env, []string{"up", "--nats", "0.0.0.0:0"}, 2, "0.0.0.0", "dray coordinator")
	})
	t.Run("another worker", func(t *testing.T) {
		w := start(t, append(s.env, "DRAY_HTTP_ADDR=none"), "worker")
		eventually(t, "two workers", func() bool {
			var list []job.Worker
			return json.Unmarshal([]byte(expect(t, s.env, []string{"workers", "--json"}, 0)), &list) == nil && len(list) == 2
		})
		w.signal(syscall.SIGTERM)
		w.exits(0)
	})
	t.Run("is closed to others", func(t *testing.T) {
		for _, name := range []string{"up.json", "nats.token"} {
			if info, err := os.Stat(filepath.Join(s.data, name)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
		u, err := url.Parse(s.up.NATS)
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range []*url.Userinfo{nil, url.User("guessed")} {
			cfg := queue.DefaultConfig()
			cfg.URL = (&url.URL{Scheme: "nats", Host: u.Host, User: user}).String()
			if q, err := queue.Connect(t.Context(), cfg); !errors.Is(err, queue.ErrDenied) {
				t.Errorf("as %v: %v", user, err)
				if q != nil {
					q.Close()
				}
			}
		}
		if token := u.User.Username(); token == "" || strings.Contains(s.process.log.String(), token) {
			t.Error("it prints the token of its NATS")
		}
		ch, err := url.Parse(s.up.ClickHouse)
		if err != nil {
			t.Fatal(err)
		}
		if password, _ := ch.User.Password(); password == "" || strings.Contains(s.process.log.String(), password) {
			t.Error("it prints the password of its ClickHouse, or has none")
		}
	})
	t.Run("health", func(t *testing.T) {
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			resp, err := http.Get(s.up.HTTP + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", path, resp.Status)
			}
		}
		http.DefaultClient.CloseIdleConnections()
		expect(t, append(s.env, "DRAY_HTTP_ADDR="+strings.TrimPrefix(s.up.HTTP, "http://")), []string{"health"}, 0, "ready")
	})
	t.Run("watch", func(t *testing.T) { watchJobs(t, s) })
	t.Run("shapes", func(t *testing.T) { printShapes(t, s) })
	long := numbers(t, s.dir, "drains", 8000, "1024")
	t.Run("drains, and goes on", func(t *testing.T) {
		expect(t, s.env, []string{"submit", long, "--key", "1"}, 0, "drains-1")
		eventually(t, "some chunks are done", func() bool {
			var j job.Job
			return json.Unmarshal([]byte(expect(t, s.env, []string{"show", "drains-1", "--json"}, 0)), &j) == nil && j.Totals.Chunks > 3
		})
		s.process.signal(syscall.SIGTERM)
		s.process.exits(0)
		if _, err := os.Stat(filepath.Join(s.data, "up.json")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it is gone, and says where it is: %v", err)
		}
		expect(t, s.env, []string{"show", "drains-1"}, 0, "RUNNING")
		expect(t, s.env, []string{"workers"}, 2, "no dray up works in")
		token := s.up.NATS
		s.begin(t)
		if before, after := userOf(t, token), userOf(t, s.up.NATS); before != after {
			t.Error("the token is another one")
		}
		expect(t, s.env, []string{"submit", long, "--key", "1", "--wait", "-q"}, 0, "drains-1: done")
		if got := expect(t, s.env, []string{"sql", "-f", "TabSeparated", "SELECT count(), uniqExact(id), (SELECT max(attempt) FROM drayage.ledger WHERE job = 'drains-1') FROM drains"}, 0); got != "7200\t7200\t1\n" {
			t.Errorf("table and attempts are %q", got)
		}
	})
	t.Run("killed", func(t *testing.T) {
		s.process.signal(syscall.SIGKILL)
		<-s.process.done
		eventually(t, "its children are gone", func() bool { return len(withVariable(t, s.data)) == 0 })
		expect(t, s.env, []string{"jobs"}, 0, "drains-1")
	})
}

func userOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(u.User)
}
