package cli_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
)

// canaries are secrets, by what they are for. None may be seen anywhere.
type canaries map[string]string

// in names those that a text has.
func (c canaries) in(text string) (found []string) {
	for name, secret := range c {
		if strings.Contains(text, secret) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// wire is the log of a NATS server that traces every message.
type wire struct {
	secrets canaries
	mu      sync.Mutex
	found   []string
	lines   int
}

func (w *wire) note(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines++
	for _, name := range w.secrets.in(line) {
		w.found = append(w.found, name+" in "+line)
	}
}
func (w *wire) Noticef(format string, v ...any) { w.note(format, v...) }
func (w *wire) Warnf(format string, v ...any)   { w.note(format, v...) }
func (w *wire) Fatalf(format string, v ...any)  { w.note(format, v...) }
func (w *wire) Errorf(format string, v ...any)  { w.note(format, v...) }
func (w *wire) Debugf(format string, v ...any)  { w.note(format, v...) }
func (w *wire) Tracef(format string, v ...any)  { w.note(format, v...) }

// A safe is a fleet whose NATS and ClickHouse are reached by TLS only, each
// service with the secret of its role, and which is given secrets for its sources.
type safe struct {
	dir        string
	secrets    canaries
	wire       *wire
	nats       *server.Server
	server     *engine.Process
	clickhouse *clickhouse.Client
	api        *httptest.Server // a source
	env        []string         // of all
}

func newSafe(t *testing.T) *safe {
	t.Helper()
	s := &safe{dir: t.TempDir(), secrets: canaries{
		"ClickHouse password": "canary-clickhouse-93b1", "bearer token": "canary-bearer-71c4", "file": "canary-file-5d20",
		"PostgreSQL password": "canary-postgres-88fa", "S3 access key": "CANARYS3ACCESS4417", "S3 secret key": "canary-s3-secret-0b6e",
	}}
	auth := filepath.Join(s.dir, "auth")
	expect(t, nil, []string{"nats-auth", auth, "--host", "127.0.0.1"}, 0, "nats-auth.conf", "DRAY_NATS_NKEY="+filepath.Join(auth, "worker.nk"))
	for _, role := range []string{"coordinator", "worker", "operator", "reader"} {
		seed, err := os.ReadFile(filepath.Join(auth, role+".nk"))
		if err != nil {
			t.Fatal(err)
		}
		s.secrets["nkey of the "+role] = strings.TrimSpace(string(seed))
	}
	s.wire = &wire{secrets: s.secrets}
	s.startNATS(t, auth)
	s.startClickHouse(t, auth)
	s.startAPI(t)
	writeFile(t, filepath.Join(s.dir, "key"), s.secrets["file"]+"\n")
	s.env = append(s.env,
		"DRAY_NATS_CA="+filepath.Join(auth, "ca.pem"), "DRAY_CLICKHOUSE_CA_FILE="+filepath.Join(auth, "ca.pem"), "DRAY_DATA_DIR="+filepath.Join(s.dir, "data"),
		"DRAY_ACCOUNT_EVERY=100ms", "DRAY_SLOTS=2", "DRAY_HTTP_ADDR=127.0.0.1:0", "DRAY_LOG_LEVEL=trace", "DRAY_LOG_FORMAT=json",
		"DRAY_ALLOW_PATHS=*", "DRAY_ALLOW_HOSTS=*,127.0.0.1", "DRAY_ALLOW_ENV=CANARY_*",
		"CANARY_BEARER="+s.secrets["bearer token"], "CANARY_POSTGRES="+s.secrets["PostgreSQL password"],
		"CANARY_S3_ACCESS="+s.secrets["S3 access key"], "CANARY_S3_SECRET="+s.secrets["S3 secret key"],
	)
	return s
}

func (s *safe) as(role string) []string {
	return append(slices.Clone(s.env), "DRAY_NATS_NKEY="+filepath.Join(s.dir, "auth", role+".nk"))
}

func (s *safe) startNATS(t *testing.T, auth string) {
	t.Helper()
	conf := filepath.Join(s.dir, "nats.conf")
	text := fmt.Sprintf("host: 127.0.0.1\nport: -1\njetstream {store_dir: %q}\ninclude %q\n", filepath.Join(s.dir, "nats"), "auth/nats-auth.conf")
	writeFile(t, conf, text)
	opts, err := server.ProcessConfigFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs = true
	if s.nats, err = server.NewServer(opts); err != nil {
		t.Fatal(err)
	}
	s.nats.SetLoggerV2(s.wire, true, true, false)
	s.nats.Start()
	t.Cleanup(func() { s.nats.Shutdown(); s.nats.WaitForShutdown() })
	if !s.nats.ReadyForConnections(20 * time.Second) {
		t.Fatal("NATS did not start")
	}
	s.env = append(s.env, "DRAY_NATS_URL="+s.nats.ClientURL())
}

// startClickHouse starts the engine behind TLS, where the password is asked for.
func (s *safe) startClickHouse(t *testing.T, auth string) {
	t.Helper()
	var err error
	s.server, err = engine.Start(t.Context(), engine.Config{
		Name: "clickhouse", Path: filepath.Join(s.dir, "clickhouse"), User: "dray", Password: s.secrets["ClickHouse password"], Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.server.Close() })
	if s.clickhouse, err = clickhouse.Open(t.Context(), clickhouse.Config{URL: s.server.URL()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.clickhouse.Close() })
	behind, err := url.Parse(s.server.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	proxy.FlushInterval = -1
	front := httptest.NewUnstartedServer(proxy)
	pair, err := tls.LoadX509KeyPair(filepath.Join(auth, "server.pem"), filepath.Join(auth, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	front.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	front.StartTLS()
	t.Cleanup(front.Close)
	s.env = append(s.env, "DRAY_CLICKHOUSE_URL="+strings.Replace(front.URL, "https://", "https://dray:"+s.secrets["ClickHouse password"]+"@", 1))
}

// startAPI starts a server that gives rows to who has the token, and tells it to
// everybody whom it refuses, as bad servers do.
func (s *safe) startAPI(t *testing.T) {
	t.Helper()
	s.api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/bucket"):
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, "<Error><Code>AccessDenied</Code><Message>%s and %s are wrong</Message></Error>", s.secrets["S3 access key"], s.secrets["S3 secret key"])
		case r.URL.Path != "/rows" || r.Header.Get("Authorization") != "Bearer "+s.secrets["bearer token"]:
			http.Error(w, "refused: "+r.Header.Get("Authorization"), http.StatusForbidden)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `[{"id": 1}, {"id": 2}, {"id": "none"}]`)
		}
	}))
	t.Cleanup(s.api.Close)
}

func (s *safe) pipeline(t *testing.T, name, source, transform string) string {
	t.Helper()
	path := filepath.Join(s.dir, name+".yaml")
	text := fmt.Sprintf("pipeline: %s\nsource:\n%s\ntransform: %s\nretry: {attempts: 1}\nreject: {max: 1}\nload: {table: %s, create: ENGINE = MergeTree ORDER BY tuple()}\n", name, source, transform, name)
	writeFile(t, path, text)
	return path
}

// A fleet works with every transport encrypted and every service under the secret
// of its own role; and whatever becomes of its jobs, no secret is in a message, a
// record, a log at its finest, a table or what the command line prints.
func TestSafeFleet(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	coordinator := start(t, s.as("coordinator"), "coordinator")
	worker := start(t, s.as("worker"), "worker")
	var printed strings.Builder
	run := func(role string, code int, args ...string) string {
		t.Helper()
		out, errs, got := dray(t, s.as(role), args...)
		fmt.Fprintf(&printed, "%s\n%s\n%s\n", args, out, errs)
		if got != code {
			t.Errorf("%s as %s: exit code %d, wanted %d\n%s%s", args, role, got, code, out, errs)
		}
		return out + errs
	}

	good := s.pipeline(t, "good", "  http: {url: '"+s.api.URL+"/rows', bearer: '${env:CANARY_BEARER}'}\n  columns: id UInt64", "SELECT id FROM chunk")
	if out := run("reader", 3, "submit", good); !strings.Contains(out, "dray.jobs.submit") {
		t.Errorf("a reader that submits is told:\n%s", out)
	}
	run("operator", 4, "submit", good, "--wait", "--json", "--key", "1")
	for name, p := range map[string][2]string{
		"refused": {"  http: {url: '" + s.api.URL + "/other', bearer: '${env:CANARY_BEARER}'}\n  columns: id UInt64", "SELECT id FROM chunk"},
		"thrown":  {"  query: {sql: 'SELECT number AS id FROM numbers(10)'}", "SELECT throwIf(id = 5, '${file:" + s.dir + "/key}') AS id FROM chunk"},
		"stored": {"  files: {path: s3://bucket/a.csv, format: CSV, s3: {endpoint: '" + s.api.URL + "', access_key: '${env:CANARY_S3_ACCESS}', secret_key: '${env:CANARY_S3_SECRET}'}}\n" +
			"  columns: id UInt64", "SELECT id FROM chunk"},
	} {
		run("operator", 1, "submit", s.pipeline(t, name, p[0], p[1]), "--wait", "--json", "--key", "1")
	}
	// A database that is away is waited for: the job goes on trying.
	away, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away.Close()
	run("operator", 0, "submit", "--json", "--key", "1", s.pipeline(t, "waits",
		"  postgres: {url: 'postgres://dray:${env:CANARY_POSTGRES}@"+away.Addr().String()+"/db', table: t}\n  columns: id UInt64", "SELECT id FROM chunk"))
	eventually(t, "the coordinator fails to reach the database", func() bool { return strings.Contains(coordinator.log.String(), away.Addr().String()) })

	for _, args := range [][]string{{"jobs"}, {"workers"}, {"schedules"}, {"dead", "list"}, {"show", "good-1"}, {"show", "thrown-1"}, {"show", "waits-1"}} {
		run("reader", 0, append(args, "--json")...)
		run("reader", 0, args...)
	}
	run("reader", 0, "rejects", "good-1", "--json")
	run("operator", 0, "verify", "good-1", "--json")
	run("reader", 3, "cancel", "waits-1", "--json")
	run("operator", 0, "cancel", "waits-1", "--json")

	seen := map[string]string{"what dray printed": printed.String(), "the coordinator's log": coordinator.log.String(), "the worker's log": worker.log.String()}
	for name, log := range map[string]string{"coordinator": coordinator.log.String(), "worker": worker.log.String()} {
		address := regexp.MustCompile(`"addr(?:ess)?":"(127\.0\.0\.1:\d+)"[^{}]*"message":"(?:health endpoints|HTTP) ready"`).FindStringSubmatch(log)
		if address == nil {
			t.Fatalf("the %s does not say where its endpoints are", name)
		}
		for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
			resp, err := http.Get("http://" + address[1] + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			seen[name+path] = string(body)
		}
	}
	if n := strings.TrimSpace(s.query(t, "SELECT count() FROM good", "TabSeparated")); n != "2" {
		t.Errorf("the table has %s rows", n)
	}
	for _, table := range strings.Fields(s.query(t, "SELECT name FROM system.tables WHERE database = 'drayage'", "TabSeparated")) {
		seen["drayage."+table] = s.query(t, "SELECT * FROM drayage."+table, "JSONEachRow")
	}
	for what, must := range map[string]string{"what dray printed": "[hidden]", "drayage.rejects": "none", "drayage.ledger": "good-1"} {
		if !strings.Contains(seen[what], must) {
			t.Errorf("%s has no %s: this test looks at the wrong thing", what, must)
		}
	}
	for what, text := range seen {
		if found := s.secrets.in(text); len(found) > 0 {
			t.Errorf("%s has the %s", what, strings.Join(found, ", "))
		}
	}
	s.wire.mu.Lock()
	if s.wire.lines < 100 || len(s.wire.found) > 0 {
		t.Errorf("of %d messages over NATS, %d have secrets: %.500q", s.wire.lines, len(s.wire.found), s.wire.found)
	}
	s.wire.mu.Unlock()
	// The streams as they are on the disk, with what was deleted from them.
	files := 0
	err = filepath.WalkDir(filepath.Join(s.dir, "nats"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // it went meanwhile
		}
		text, err := os.ReadFile(path)
		if found := s.secrets.in(string(text)); err == nil && len(found) > 0 {
			t.Errorf("%s has the %s", path, strings.Join(found, ", "))
		}
		files++
		return nil
	})
	if err != nil || files < 10 {
		t.Errorf("%d files of streams: %v", files, err)
	}
}

func (s *safe) query(t *testing.T, sql, format string) string {
	t.Helper()
	var b strings.Builder
	if err := s.clickhouse.Query(t.Context(), sql, format, &b); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return b.String()
}
