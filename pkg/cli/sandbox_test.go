package cli_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"drayage/coordinator"
	"drayage/pkg/job"
)

// sandboxCanary must never be seen: it is in the files and the environment of
// the services that no pipeline may read.
const sandboxCanary = "canary-5d1c08"

// TestSandbox: pipelines that are submitted to a fleet reach what its operator
// allows, and nothing else. The second half has a coordinator that believes
// everything, as whoever could forge a job's record would: then the workers
// refuse.
func TestSandbox(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	var touched atomic.Int64
	forbidden := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, sandboxCanary)
	}))
	forbidden.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			touched.Add(1)
		}
	}
	forbidden.Start()
	t.Cleanup(forbidden.Close)
	away := httptest.NewServer(http.RedirectHandler(forbidden.URL, http.StatusTemporaryRedirect))
	t.Cleanup(away.Close)
	host := strings.TrimPrefix(forbidden.URL, "http://")

	in, out := filepath.Join(f.dir, "in"), filepath.Join(f.dir, "out")
	for path, text := range map[string]string{
		filepath.Join(in, "rows.csv"): "1,one\n2,two\n", filepath.Join(in, "names.csv"): "1,uno\n2,due\n",
		filepath.Join(out, "secret.csv"): "1," + sandboxCanary + "\n", filepath.Join(out, "secret"): sandboxCanary,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, text)
	}
	if err := os.Symlink(filepath.Join(out, "secret.csv"), filepath.Join(in, "link.csv")); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(out, "secret")
	made := exec.CommandContext(t.Context(), "sqlite3", filepath.Join(in, "rows.db"), "CREATE TABLE rows (id INTEGER, name TEXT); INSERT INTO rows VALUES (1, 'one'), (2, 'two')")
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("making a file of SQLite with sqlite3 (apt-get install sqlite3): %v: %s", err, out)
	}
	strict := append(f.env, "DRAY_ALLOW_PATHS="+in, "DRAY_ALLOW_HOSTS="+strings.TrimPrefix(away.URL, "http://"), "DRAY_ALLOW_ENV=SANDBOX_OK",
		"SANDBOX_OK=fine", "SANDBOX_SECRET="+sandboxCanary, "DRAY_CLICKHOUSE_PASSWORD_FILE=")
	believing := append(f.env, "DRAY_ALLOW_PATHS=*", "DRAY_ALLOW_HOSTS=127.0.0.0/8", "DRAY_ALLOW_ENV=*", "SANDBOX_SECRET="+sandboxCanary, "SANDBOX_OK=fine")

	const rows = "files: {path: rows.csv, header: false}, columns: 'id UInt64, name String'"
	text := func(source, more string) string {
		return fmt.Sprintf("pipeline: p\nsource: {%s}\nload: {table: TABLE, order_by: tuple()}\n%s", source, more)
	}
	query := func(sql string) string { return text(fmt.Sprintf("query: {sql: %q}", sql), "") }
	selects := func(sql string) string { return text(rows, fmt.Sprintf("transform: %q\n", sql)) }
	attacks := map[string]struct {
		text string
		want string // in the error of the job or of its dead letter
		late bool   // what a coordinator that allows everything would not refuse
	}{
		"passwd":        {text("files: {path: /etc/passwd, format: LineAsString}", ""), "DRAY_ALLOW_PATHS", true},
		"environ":       {text("files: {path: /proc/self/environ, format: LineAsString}", ""), "/proc/self/environ", false},
		"dots":          {text("files: {path: ../out/secret.csv, header: false}, columns: 'id UInt64, name String'", ""), "DRAY_ALLOW_PATHS", true},
		"link":          {text("files: {path: link.csv, header: false}, columns: 'id UInt64, name String'", ""), "link", true},
		"glob":          {text("files: {path: '../*/secret.csv', header: false}, columns: 'id UInt64, name String'", ""), "matches no file", false},
		"lookup":        {text(rows, "lookups: {l: {path: ../out/secret.csv, columns: 'k UInt64, v String'}}\ntransform: SELECT v AS name, id FROM chunk JOIN l ON k = id\n"), "DRAY_ALLOW_PATHS", true},
		"file":          {text(rows, "transform: \"SELECT id, '${file:"+secret+"}' AS name FROM chunk\"\n"), "DRAY_ALLOW_PATHS", true},
		"env":           {text(rows, "transform: \"SELECT id, '${env:SANDBOX_SECRET}' AS name FROM chunk\"\n"), "DRAY_ALLOW_ENV", true},
		"own_env":       {text(rows, "transform: \"SELECT id, '${env:DRAY_CLICKHOUSE_URL}' AS name FROM chunk\"\n"), "the service's own", false},
		"web":           {text("files: {path: '"+forbidden.URL+"/x.csv', header: false}, columns: 'id UInt64, name String'", ""), "DRAY_ALLOW_HOSTS", false},
		"redirect":      {text("files: {path: '"+away.URL+"/x.csv', header: false}, columns: 'id UInt64, name String'", ""), host[strings.Index(host, ":")+1:], false},
		"api_redirect":  {text("http: {url: '"+away.URL+"/'}, columns: 'id UInt64'", ""), host[strings.Index(host, ":")+1:], false},
		"metadata":      {text("http: {url: 'http://169.254.169.254/latest/'}, columns: 'id UInt64'", ""), "169.254.169.254", false},
		"postgres":      {text("postgres: {url: 'postgres://u:p@"+host+"/d', table: t}", ""), "DRAY_ALLOW_HOSTS", false},
		"mysql":         {text("mysql: {url: 'mysql://u:p@"+host+"/d', table: t}", ""), "DRAY_ALLOW_HOSTS", false},
		"clickhouse":    {text("clickhouse: {url: '"+forbidden.URL+"', table: t}", ""), "DRAY_ALLOW_HOSTS", false},
		"kafka":         {text("kafka: {brokers: '"+host+"', topic: t}, columns: 'id UInt64'", ""), "DRAY_ALLOW_HOSTS", false},
		"nats":          {text("jetstream: {url: 'nats://"+host+"', stream: s}, columns: 'id UInt64'", ""), "DRAY_ALLOW_HOSTS", false},
		"s3":            {text("files: {path: 's3://bucket/x.csv', header: false, s3: {endpoint: '"+forbidden.URL+"', anonymous: true}}, columns: 'id UInt64, name String'", ""), "DRAY_ALLOW_HOSTS", false},
		"query_file":    {query("SELECT 1 AS id, line AS name FROM file('" + secret + "', LineAsString)"), "DRAY_ALLOW_PATHS", true},
		"query_scalar":  {query("SELECT 1 AS id, file('" + secret + "') AS name"), "DRAY_ALLOW_PATHS", true},
		"query_url":     {query("SELECT 1 AS id, line AS name FROM url('" + forbidden.URL + "', LineAsString)"), "DRAY_ALLOW_HOSTS", false},
		"query_away":    {query("SELECT 1 AS id, line AS name FROM url('" + away.URL + "', LineAsString) SETTINGS max_http_get_redirects = 5"), "SETTINGS", false},
		"query_program": {query("SELECT 1 AS id, l AS name FROM executable('id', TSV, 'l String')"), "can not be judged", false},
		"query_tables":  {query("SELECT 1 AS id, name FROM system.databases"), "system.databases", false},
		"generate":      {text("generate: {rows: 2, select: \"number AS id, file('"+secret+"') AS name\"}", ""), "DRAY_ALLOW_PATHS", true},
		"sql_file":      {selects("SELECT id, file('" + secret + "') AS name FROM chunk"), "beyond the chunk", false},
		"sql_table":     {selects("SELECT id, (SELECT max(line) FROM file('" + secret + "', LineAsString)) AS name FROM chunk"), "beyond the chunk", false},
		"sql_in":        {selects("SELECT id, name FROM chunk WHERE name NOT IN url('" + forbidden.URL + "', LineAsString)"), "beyond the chunk", false},
		"sql_system":    {selects("SELECT id, (SELECT max(name) FROM system.databases) AS name FROM chunk"), "neither the chunk nor a lookup", false},
		"sql_huge":      {selects("SELECT id, name FROM chunk SETTINGS max_memory_usage = 0"), "not the SELECT's to set", false},
		"server_lookup": {text(rows, "lookups: {l: {query: \"SELECT 1 AS k, line AS v FROM url('"+forbidden.URL+"', LineAsString)\"}}\ntransform: SELECT v AS name, id FROM chunk JOIN l ON k = id\n"), "DRAY_ALLOW_HOSTS", false},
		"server_file":   {text(rows, "lookups: {l: {query: \"SELECT 1 AS k, line AS v FROM file('"+secret+"', LineAsString)\"}}\ntransform: SELECT v AS name, id FROM chunk JOIN l ON k = id\n"), "can not be judged", false},
		"clause":        {"pipeline: p\nsource: {" + rows + "}\nload: {table: TABLE, create: \"ENGINE = MergeTree ORDER BY tuple() AS SELECT 1 AS id, line AS name FROM url('" + forbidden.URL + "', LineAsString)\"}\n", "rows are those of the chunks", false},
		"disk":          {"pipeline: p\nsource: {" + rows + "}\nload: {table: TABLE, create: \"ENGINE = MergeTree ORDER BY tuple() SETTINGS disk = disk(type = 'local', path = '/etc/')\"}\n", "a disk of its own", false},
		"engine":        {"pipeline: p\nsource: {" + rows + "}\nload: {table: TABLE, create: \"ENGINE = URL('" + forbidden.URL + "', CSV)\"}\n", "MergeTree", false},
	}
	allowed := map[string]string{
		"plain":   text(rows, "transform: \"SELECT id, '${env:SANDBOX_OK}' AS name FROM chunk\"\n"),
		"joined":  text(rows, "lookups: {l: {path: names.csv, columns: 'k UInt64, v String'}}\ntransform: SELECT v AS name, id FROM chunk JOIN l ON k = id\n"),
		"twice":   text(rows, "transform: SELECT id, name FROM chunk WHERE id IN (SELECT id FROM chunk)\n"),
		"sqlite":  query("SELECT id, name FROM sqlite('" + filepath.Join(in, "rows.db") + "', 'rows')"),
		"queried": query("SELECT c1 AS id, c2 AS name FROM file('" + filepath.Join(in, "rows.csv") + "', CSV)"),
	}
	run := func(prefix, name, text string) job.Job {
		id := prefix + "_" + name
		s := job.Submission{Job: id, Pipeline: strings.ReplaceAll(text, "TABLE", id), File: "p.yaml", Dir: in}
		if err := coordinator.Create(t.Context(), f.queue, s); err != nil {
			t.Fatal(err)
		}
		var j job.Job
		eventually(t, id+" ends", func() bool {
			var err error
			j, _, err = f.queue.Job(t.Context(), id)
			return err == nil && j.State.Terminal()
		})
		return j
	}
	// said is what anybody can read of a job.
	said := func(j job.Job) string {
		all := j.Error
		letters, err := f.queue.DeadLetters(t.Context(), j.ID, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range letters {
			all += " | " + l.Error
		}
		return all
	}

	c, w := start(t, strict, "coordinator"), start(t, strict, "worker")
	eventually(t, "the streams are there", func() bool { return f.queue.Check(t.Context()) == nil })
	for name, text := range allowed {
		j := run("ok", name, text)
		if got := f.sql(t, "SELECT count() FROM ok_"+name); j.State != job.Done || got != "2" {
			t.Errorf("%s: %s with %s rows: %s", name, j.State, got, said(j))
		}
	}
	for name, a := range attacks {
		j := run("bad", name, a.text)
		if j.State != job.Failed || !strings.Contains(said(j), a.want) || strings.Contains(said(j), sandboxCanary) {
			t.Errorf("%s: %s: %s", name, j.State, said(j))
		}
	}
	endAll(c)
	c = start(t, believing, "coordinator")
	for name, a := range attacks {
		if !a.late {
			continue
		}
		j := run("late", name, a.text)
		if !strings.Contains(said(j), a.want) || strings.Contains(said(j), sandboxCanary) || j.State == job.Done {
			t.Errorf("believed, %s: %s: %s", name, j.State, said(j))
		}
	}
	endAll(c, w)
	if n := touched.Load(); n > 0 {
		t.Errorf("the forbidden server was reached %d times", n)
	}
	for _, p := range []*process{c, w} {
		if strings.Contains(p.log.String(), sandboxCanary) {
			t.Errorf("the canary is in the log of the %s", p.name)
		}
	}
	for _, table := range []string{"ledger", "jobs", "rejects"} {
		if got := f.sql(t, "SELECT count() FROM (SELECT concat(*) AS a FROM (SELECT toString(tuple(*)) FROM drayage."+table+")) WHERE a LIKE '%"+sandboxCanary+"%'"); got != "0" {
			t.Errorf("the canary is in drayage.%s", table)
		}
	}
}
