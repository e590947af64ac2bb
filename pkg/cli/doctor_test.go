package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// doctorFinding is one of what doctor --json prints.
type doctorFinding struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Warning bool   `json:"warning"`
	Detail  string `json:"detail"`
	Do      string `json:"do"`
}

func findings(t *testing.T, env []string, code int) map[string]doctorFinding {
	t.Helper()
	out := expect(t, env, []string{"doctor", "--json"}, code)
	var list []doctorFinding
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	found := map[string]doctorFinding{}
	for _, f := range list {
		found[f.Name] = f
		if (!f.OK || f.Warning) && f.Do == "" {
			t.Errorf("%s does not say what to do: %s", f.Name, f.Detail)
		}
	}
	return found
}

// natsServer starts a NATS as it is without care: no sync, and JetStream or not,
// with so many bytes of files; 0: by the disk.
func natsServer(t *testing.T, jetStream bool, maxStore int64) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, HTTPHost: "127.0.0.1", HTTPPort: -1, JetStream: jetStream, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		JetStreamMaxStore: maxStore, JetStreamMaxMemory: 64 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	eventually(t, "NATS listens", func() bool { return s.Addr() != nil && s.MonitorAddr() != nil })
	return s
}

// olderNATS stands before a NATS and says that it is an old one.
func olderNATS(t *testing.T, behind string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer client.Close()
				real, err := net.Dial("tcp", behind)
				if err != nil {
					return
				}
				defer real.Close()
				from := bufio.NewReader(real)
				all.Go(func() { _, _ = io.Copy(real, client); real.Close() })
				// In every INFO: another one follows once the client has said who it is.
				for {
					line, err := from.ReadString('\n')
					_, failed := io.WriteString(client, strings.Replace(line, `"version":"`+server.VERSION+`"`, `"version":"2.10.7"`, 1))
					if err != nil || failed != nil {
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}

// Doctor finds what is wrong with servers that are not as they must be, and says
// what to do about it.
func TestDoctor(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	env := func(more ...string) []string { return append(append([]string{}, f.env...), more...) }
	careless, without := natsServer(t, true, 0), natsServer(t, false, 0)
	at := func(s *server.Server) string { return "DRAY_NATS_URL=nats://" + s.Addr().String() }

	t.Run("old NATS that syncs late", func(t *testing.T) {
		seen := findings(t, env("DRAY_NATS_URL=nats://"+olderNATS(t, careless.Addr().String()), "DRAY_NATS_MONITOR=http://"+careless.MonitorAddr().String()), 3)
		if n := seen["NATS"]; n.OK || !strings.Contains(n.Detail, "2.10.7") || !strings.Contains(n.Do, "upgrade") {
			t.Errorf("NATS: %+v", n)
		}
		if n := seen["NATS sync"]; !n.OK || !n.Warning || !strings.Contains(n.Do, "sync_interval: always") {
			t.Errorf("sync: %+v", n)
		}
		if n := seen["NATS streams"]; !n.Warning || !strings.Contains(n.Do, "dray coordinator") {
			t.Errorf("streams: %+v", n)
		}
	})
	t.Run("JetStream is off, and a right is missing", func(t *testing.T) {
		real, err := url.Parse(f.server.URL())
		if err != nil {
			t.Fatal(err)
		}
		user := real.User
		real.User = nil
		proxy := httputil.NewSingleHostReverseProxy(real)
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			if asked := string(body) + r.URL.Query().Get("query"); strings.Contains(asked, "ALTER TABLE") && strings.Contains(asked, "DELETE WHERE") {
				w.Header().Set("X-ClickHouse-Exception-Code", "497")
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, "Code: 497. DB::Exception: loader: Not enough privileges. (ACCESS_DENIED)\n")
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			proxy.ServeHTTP(w, r)
		}))
		defer front.Close()
		fronted, err := url.Parse(front.URL)
		if err != nil {
			t.Fatal(err)
		}
		fronted.User = user
		seen := findings(t, env(at(without), "DRAY_CLICKHOUSE_URL="+fronted.String()), 3)
		if n := seen["NATS JetStream"]; n.OK || !strings.Contains(n.Do, "-js") {
			t.Errorf("JetStream: %+v", n)
		}
		if c := seen["ClickHouse rights"]; c.OK || !strings.Contains(c.Detail, "ALTER DELETE ON default.* is not granted, for repair and undo") || strings.Contains(c.Detail, "\n") || !strings.Contains(c.Do, "GRANT") {
			t.Errorf("rights: %+v", c)
		}
	})
	t.Run("wrong user, and an address in use", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		seen := findings(t, env(at(careless), "DRAY_CLICKHOUSE_USER=nobody", "DRAY_CLICKHOUSE_PASSWORD=hunter2", "DRAY_HTTP_ADDR="+l.Addr().String()), 3)
		for name, do := range map[string]string{"ClickHouse": "DRAY_CLICKHOUSE_PASSWORD", "HTTP address": "DRAY_HTTP_ADDR"} {
			if n := seen[name]; n.OK || !strings.Contains(n.Do, do) || strings.Contains(n.Detail, "hunter2") {
				t.Errorf("%s: %+v", name, n)
			}
		}
	})
	t.Run("no room for what the streams reserve", func(t *testing.T) {
		small := natsServer(t, true, 1<<30)
		monitor := "DRAY_NATS_MONITOR=http://" + small.MonitorAddr().String()
		seen := findings(t, env(at(small), monitor), 3)
		if n := seen["NATS max_file_store"]; n.OK || !strings.HasPrefix(n.Detail, "1.0 GiB, of which 1.0 GiB are not reserved; the streams reserve 2.") || !strings.Contains(n.Do, "max_file_store") {
			t.Errorf("max_file_store: %+v", n)
		}
		if n := seen["NATS JetStream"]; !n.OK {
			t.Errorf("an account without a bound: %+v", n)
		}
		// An account's own bound is known without the monitoring address.
		if err := small.GlobalAccount().UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{
			"": {MaxMemory: -1, MaxStore: 512 << 20, MaxStreams: -1, MaxConsumers: -1},
		}); err != nil {
			t.Fatal(err)
		}
		if n := findings(t, env(at(small), monitor), 3)["NATS JetStream"]; n.OK || !strings.HasPrefix(n.Detail, "512 MiB at most; the streams reserve 2.") {
			t.Errorf("an account with a bound: %+v", n)
		}
		if n := findings(t, env(at(small), monitor, "DRAY_WORK_MAX_BYTES=1048576", "DRAY_RESULTS_MAX_BYTES=1048576", "DRAY_JOBS_MAX_BYTES=1048576",
			"DRAY_DEAD_MAX_BYTES=1048576", "DRAY_EVENTS_MAX_BYTES=1048576"), 0); !n["NATS JetStream"].OK || !n["NATS max_file_store"].OK {
			t.Errorf("with smaller streams: %+v", n)
		}
	})
	t.Run("well", func(t *testing.T) {
		if err := f.queue.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen := findings(t, f.env, 0)
		for _, name := range []string{"engine", "data folder", "HTTP address", "NATS", "NATS JetStream", "NATS streams", "clock of NATS",
			"ClickHouse", "ClickHouse rights", "ClickHouse ledger", "ClickHouse deduplication", "clock of ClickHouse"} {
			if n, there := seen[name]; !there || !n.OK || n.Warning {
				t.Errorf("%s: %+v", name, n)
			}
		}
		f.answers(t, "SELECT count() FROM system.tables WHERE name LIKE 'dray_doctor%'", "0")
	})
}
