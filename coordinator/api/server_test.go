package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"drayage/coordinator"
	"drayage/coordinator/api"
	"drayage/coordinator/api/guard"
	"drayage/pkg/job"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry/metrics"
)

const (
	readToken    = "read-token-0123456789"
	operateToken = "operate-token-0123456789"
	adminToken   = "admin-token-0123456789"
)

// config is one of the environment's defaults.
func config() guard.Config {
	return guard.Config{Session: time.Hour, Rate: 1e5, Streams: 16}
}

// serve starts a server with tokens over the shared Service.
func serve(t *testing.T, change func(*guard.Config), routes ...api.Route) (*httptest.Server, *api.Server, *bytes.Buffer) {
	t.Helper()
	cfg := config()
	cfg.Tokens = "read:viewer:" + readToken + " operate:ci:" + operateToken + " admin:boss:" + adminToken
	if change != nil {
		change(&cfg)
	}
	var log bytes.Buffer
	s, err := api.NewServer(cfg, "127.0.0.1:0", api.ServerDeps{Service: service, Log: zerolog.New(zerolog.SyncWriter(&log)), Version: "test", Routes: routes})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	return h, s, &log
}

// client asks a server with a token.
type client struct {
	t     *testing.T
	base  string
	token string
}

func (c client) do(method, path, body string, headers ...string) (*http.Response, []byte) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, text
}

// problem asks for what is refused with a status and returns why.
func (c client) problem(status int, method, path, body string, headers ...string) api.Problem {
	c.t.Helper()
	resp, text := c.do(method, path, body, headers...)
	var p api.Problem
	if err := json.Unmarshal(text, &p); err != nil || resp.StatusCode != status || p.Status != status || resp.Header.Get("Content-Type") != "application/problem+json" ||
		p.Title == "" || p.Detail == "" {
		c.t.Errorf("%s %s: %d %s (%v)", method, path, resp.StatusCode, text, err)
	}
	return p
}

// get asks for JSON.
func get[T any](c client, status int, method, path, body string, headers ...string) (v T) {
	c.t.Helper()
	resp, text := c.do(method, path, body, headers...)
	if resp.StatusCode != status {
		c.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		c.t.Fatalf("%s %s: %s: %v", method, path, text, err)
	}
	return v
}

// Every route asks for its role: without a token, and with a token of the role
// below, nobody comes through.
func TestRoles(t *testing.T) {
	t.Parallel()
	reached := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	h, s, _ := serve(t, func(c *guard.Config) { c.Pprof = true },
		api.Route{Pattern: "GET /page", Role: guard.Read, Handler: reached}, api.Route{Pattern: "GET /healthz", Role: guard.Open, Handler: reached})
	tokens := map[guard.Role]string{guard.Open: "", guard.Read: readToken, guard.Operate: operateToken, guard.Admin: adminToken}
	want := map[string]guard.Role{
		"GET /healthz": guard.Open, "GET /page": guard.Read, "GET /login": guard.Open, "POST /login": guard.Open, "POST /logout": guard.Open,
		"GET /api/v1/openapi.json": guard.Open, "GET /api/v1/whoami": guard.Open, "GET /api/v1/jobs": guard.Read, "POST /api/v1/jobs": guard.Operate,
		"POST /api/v1/jobs/{job}/cancel": guard.Operate, "POST /api/v1/jobs/{job}/dead_letters/drop": guard.Admin,
		"DELETE /api/v1/schedules/{schedule}": guard.Admin, "GET /debug/pprof/": guard.Admin, "POST /api/v1/pipelines/preview": guard.Operate,
	}
	roles := s.Roles()
	for pattern, role := range want {
		if got, there := roles[pattern]; !there || got != role {
			t.Errorf("%s is for %s", pattern, got)
		}
	}
	for pattern, role := range roles {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{job}", "no-such-job", "{chunk}", "7", "{schedule}", "none").Replace(path)
		if method == "POST" && role == guard.Open { // a form, below
			continue
		}
		if role > guard.Open && method == "GET" && !strings.HasPrefix(path, "/api") {
			resp, _ := client{t, h.URL, ""}.do(method, path, "", "Accept", "text/html")
			if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(resp.Header.Get("Location"), "/login?next=%2F") {
				t.Errorf("%s sent a browser to %d %s", pattern, resp.StatusCode, resp.Header.Get("Location"))
			}
		}
		for have, token := range tokens {
			if have > guard.Open && have < role {
				client{t, h.URL, token}.problem(http.StatusForbidden, method, path, "{}")
			}
			if have == guard.Open && role > guard.Open {
				client{t, h.URL, ""}.problem(http.StatusUnauthorized, method, path, "{}")
				client{t, h.URL, "not-a-token-0123456789"}.problem(http.StatusUnauthorized, method, path, "{}")
			}
			if have != role || strings.HasSuffix(path, "/events") || strings.Contains(path, "pprof/profile") || strings.Contains(path, "pprof/trace") {
				continue
			}
			if resp, text := (client{t, h.URL, token}).do(method, path, "{}"); resp.StatusCode == 401 || resp.StatusCode == 403 {
				t.Errorf("%s with a token of the role %s: %d %s", pattern, role, resp.StatusCode, text)
			}
		}
	}
}

// The document has every route of the API, the routes every operation of the
// document; it is valid, and real answers are as it says.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	h, s, _ := serve(t, nil)
	_, text := client{t, h.URL, ""}.do("GET", "/api/v1/openapi.json", "")
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for path, methods := range doc.Paths {
		for method := range methods {
			described[strings.ToUpper(method)+" "+path] = true
		}
	}
	for pattern := range s.Roles() {
		if strings.Contains(pattern, " /api/") && !described[pattern] {
			t.Errorf("%s is not described", pattern)
		}
		delete(described, pattern)
	}
	for pattern := range described {
		t.Errorf("%s is described and not served", pattern)
	}

	j := ran(t, "described")
	at := "/api/v1/jobs/" + j.ID
	for _, path := range []string{
		"/api/v1/jobs?limit=2", at, at + "/chunks", at + "/chunks/2", at + "/chunks/3", at + "/throughput", at + "/slowest", at + "/errors", at + "/rejects?limit=1",
		at + "/rejects/groups", at + "/dead_letters/3", "/api/v1/dead_letters?job=" + j.ID, "/api/v1/workers", "/api/v1/schedules", "/api/v1/whoami",
		at + "/dead_letters/0", "/api/v1/jobs/none", "/api/v1/jobs?limit=9999",
	} {
		resp, answer := client{t, h.URL, readToken}.do(http.MethodGet, path, "")
		pattern, _, _ := strings.Cut(strings.Replace(strings.Replace(path, j.ID, "{job}", 1), "/none", "/{job}", 1), "?")
		for _, list := range []string{"chunks", "dead_letters"} {
			if before, chunk, found := strings.Cut(pattern, "/{job}/"+list+"/"); found && chunk != "" {
				pattern = before + "/{job}/" + list + "/{chunk}"
			}
		}
		checkAnswer(t, text, pattern, resp, answer)
	}
}

// checkAnswer checks an answer against its schema in an OpenAPI document.
func checkAnswer(t *testing.T, document []byte, path string, resp *http.Response, answer []byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("file:///openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	status, kind := fmt.Sprint(resp.StatusCode), resp.Header.Get("Content-Type")
	if kind == "application/problem+json" {
		status = "default"
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1").Replace
	place := url.URL{Scheme: "file", Path: "/openapi.json", Fragment: "/paths/" + escape(path) + "/get/responses/" + status + "/content/" + escape(kind) + "/schema"}
	schema, err := c.Compile(place.String())
	if err != nil {
		t.Fatalf("%s (%s): %v", path, status, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(answer))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s (%s) is not as described: %v", path, status, err)
	}
}

// A submission is done once for each key, whatever comes of the first answer.
func TestSubmit(t *testing.T) {
	t.Parallel()
	h, _, log := serve(t, nil)
	c := client{t, h.URL, operateToken}
	dir := inputs(t, 2)
	ask := func(text string) string {
		body, err := json.Marshal(map[string]any{"pipeline": text, "dir": dir, "file": "api.yaml"})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	text := pipe("submitted", "submitted")
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	resp, body := c.do("POST", "/api/v1/jobs?wait=1m", ask(text), "Idempotency-Key", "2026-11-28 a", "traceparent", parent)
	var row api.JobRow
	if err := json.Unmarshal(body, &row); err != nil || resp.StatusCode != http.StatusCreated || row.ID != "submitted-2026-11-28-a" || row.State != job.Done ||
		row.Totals.RowsLoaded != 200 || resp.Header.Get("Location") != "/api/v1/jobs/"+row.ID {
		t.Fatalf("the first time: %d %s %v", resp.StatusCode, body, resp.Header)
	}
	if j, _, err := stack.Queue.Job(t.Context(), row.ID); err != nil || j.Trace != parent {
		t.Errorf("the job is of the trace %q, %v", j.Trace, err)
	}
	if again := get[api.JobRow](c, http.StatusOK, "POST", "/api/v1/jobs", ask(text), "Idempotency-Key", "2026-11-28 a"); !again.CreatedAt.Equal(row.CreatedAt) {
		t.Errorf("the second time it is %+v", again)
	}
	if p := c.problem(http.StatusConflict, "POST", "/api/v1/jobs", ask(text+"# another\n"), "Idempotency-Key", "2026-11-28 a"); p.Job != row.ID || p.Hint == "" {
		t.Errorf("another under the same key: %+v", p)
	}
	// The text of the file itself, as curl --data-binary sends it.
	same := get[api.JobRow](c, http.StatusOK, "POST", "/api/v1/jobs?key=2026-11-28-a&dir="+dir, text, "Content-Type", "application/yaml")
	if same.ID != row.ID {
		t.Errorf("as YAML it is %s", same.ID)
	}
	p := c.problem(http.StatusUnprocessableEntity, "POST", "/api/v1/jobs", "pipeline: bad\nsuorce: {}\n", "Content-Type", "application/yaml")
	if len(p.Mistakes) == 0 || p.Mistakes[0].Line != 2 || p.Mistakes[0].Hint == "" {
		t.Errorf("a mistake is told as %+v", p)
	}
	for what, body := range map[string]string{
		"/api/v1/jobs":            `{"pipeline": "` + strings.Repeat("x", 1<<21) + `"}`,
		"/api/v1/jobs?key=" + "a": `{"pipeline": "", "key": "b"}`,
		"/api/v1/jobs?set=x":      `{"pipeline": "pipeline: x"}`,
		"/api/v1/jobs?wat=x":      `{"pipeline": "pipeline: x"}`,
		"/api/v1/jobs?job=Up":     `{"pipeline": "pipeline: x"}`,
	} {
		if resp, text := c.do("POST", what, body); resp.StatusCode < 400 || resp.StatusCode >= 500 {
			t.Errorf("%s: %d %s", what, resp.StatusCode, text)
		}
	}
	if !strings.Contains(log.String(), `"who":"ci","role":"operate"`) || !strings.Contains(log.String(), `"operation":"POST /api/v1/jobs","status":201`) ||
		strings.Contains(log.String(), operateToken) {
		t.Errorf("the log is %s", log)
	}
}

// Submissions over HTTP are counted with those from NATS.
func TestSubmissionsAreCounted(t *testing.T) {
	t.Parallel()
	counted := metrics.New(metrics.Build{})
	s := api.New(api.Deps{Queue: stack.Queue, ClickHouse: stack.ClickHouse, Log: stack.Log, Metrics: counted.Coordinator()})
	text := pipe("counted", "counted")
	for _, r := range []api.SubmitRequest{
		{Job: "counted-1", Pipeline: text, Dir: inputs(t, 1)}, {Job: "counted-1", Pipeline: text + "# another\n"}, {Job: "counted-2", Pipeline: "pipeline: counted\n"},
	} {
		if _, _, err := s.Submit(t.Context(), r); (err != nil) != (r.Dir == "") {
			t.Errorf("%+v: %v", r, err)
		}
	}
	w := httptest.NewRecorder()
	counted.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, line := range []string{`dray_submissions_total{result="accepted"} 1`, `dray_submissions_total{result="refused"} 2`} {
		if !strings.Contains(w.Body.String(), line) {
			t.Errorf("%s is not in the metrics", line)
		}
	}
	stack.Ended(t, "counted-1")
}

// What a job has left is loaded again over HTTP, and dropped.
func TestActions(t *testing.T) {
	t.Parallel()
	h, _, _ := serve(t, nil)
	c, admin := client{t, h.URL, operateToken}, client{t, h.URL, adminToken}
	j := ran(t, "acted")
	at := "/api/v1/jobs/" + j.ID
	c.problem(http.StatusConflict, "POST", at+"/pause", "")
	c.problem(http.StatusConflict, "POST", at+"/cancel", "")
	if p := c.problem(http.StatusConflict, "POST", at+"/retry", `{"chunks": [0]}`); !strings.Contains(p.Detail, "it is loaded") {
		t.Errorf("a chunk that is loaded: %+v", p)
	}
	c.problem(http.StatusBadRequest, "POST", at+"/retry", `{"what": "rejects", "chunks": [2]}`)
	if none := get[api.Replayed](c, http.StatusOK, "POST", at+"/retry", `{"error": "nothing like it"}`); none.Job != "" {
		t.Errorf("none is left, and %+v came of it", none)
	}
	mended, err := json.Marshal(map[string]any{"what": "rejects", "pipeline": strings.ReplaceAll(strings.ReplaceAll(pipe("api", "acted"), "n Int32", "n String"), "SELECT n, s", "SELECT toInt32(extract(n, '[0-9]+')) AS n, s")})
	if err != nil {
		t.Fatal(err)
	}
	again := get[api.Replayed](c, http.StatusOK, "POST", at+"/retry", string(mended))
	if again.Chunks != 1 || again.Of != j.ID {
		t.Fatalf("it is %+v", again)
	}
	if row := get[api.JobView](c, http.StatusOK, "GET", "/api/v1/jobs/"+again.Job+"?wait=1m", ""); row.State != job.Done || row.Totals.RowsLoaded != 2 || row.Replay == nil {
		t.Errorf("the retry is %+v", row)
	}
	admin.problem(http.StatusBadRequest, "POST", at+"/dead_letters/drop", `{}`)
	c.problem(http.StatusForbidden, "POST", at+"/dead_letters/drop", `{"chunks": [3]}`)
	if d := get[api.Dropped](admin, http.StatusOK, "POST", at+"/dead_letters/drop", `{"chunks": [3], "reason": "rejects"}`); d.Dropped != 1 {
		t.Errorf("dropped are %+v", d)
	}
	c.problem(http.StatusConflict, "GET", at+"/dead_letters/3", "")

	// A job that has no input to end on is steered while it lives.
	id := coordinator.NewID("steered", time.Now())
	if err := stack.Queue.OpenJob(t.Context(), id, queue.JobQueue{}); err != nil {
		t.Fatal(err)
	}
	if _, err := stack.Queue.CreateJob(t.Context(), job.Job{ID: id, State: job.Paused, CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	at = "/api/v1/jobs/" + id
	if row := get[api.JobRow](c, http.StatusOK, "POST", at+"/pause", ""); row.State != job.Paused {
		t.Errorf("it is %+v", row)
	}
	if v := get[api.JobView](c, http.StatusOK, "GET", at+"?wait=10ms", ""); v.State != job.Paused || len(v.Waits) != 1 || v.Waits[0].Reason != api.WaitPaused {
		t.Errorf("it is %+v", v)
	}
	get[api.JobRow](c, http.StatusOK, "POST", at+"/cancel", "")
	if v := get[api.JobView](c, http.StatusOK, "GET", at+"?wait=1m", ""); v.State != job.Cancelled {
		t.Errorf("it is %s", v.State)
	}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	h, _, _ := serve(t, nil)
	c, admin := client{t, h.URL, operateToken}, client{t, h.URL, adminToken}
	text := pipe("scheduled", "scheduled") + "schedule: \"0 0 1 1 *\"\n"
	path := "/api/v1/schedules?dir=" + inputs(t, 1)
	yaml := []string{"Content-Type", "application/yaml"}
	if row := get[api.ScheduleRow](c, http.StatusCreated, "POST", path, text+"# password: \"hunter2\"\n", yaml...); row.Name != "scheduled" || row.Next.IsZero() || strings.Contains(row.Submission.Pipeline, "hunter2") {
		t.Errorf("it is %+v", row)
	}
	get[api.ScheduleRow](c, http.StatusOK, "POST", path, text, yaml...)
	c.problem(http.StatusUnprocessableEntity, "POST", path, pipe("scheduled", "scheduled"), yaml...)
	if row := get[api.ScheduleRow](c, http.StatusOK, "POST", "/api/v1/schedules/scheduled/pause", ""); !row.Paused {
		t.Errorf("it is %+v", row)
	}
	run := get[job.Run](c, http.StatusOK, "POST", "/api/v1/schedules/scheduled/run", "")
	if v := get[api.JobView](c, http.StatusOK, "GET", "/api/v1/jobs/"+run.Job+"?wait=1m", ""); v.State != job.Done {
		t.Errorf("its run is %s: %s", v.State, v.Error)
	}
	until(t, func() bool {
		list := get[api.ScheduleList](c, http.StatusOK, "GET", "/api/v1/schedules", "")
		return len(list.Schedules) == 1 && list.Schedules[0].LastState == job.Done
	})
	get[api.ScheduleRow](c, http.StatusOK, "POST", "/api/v1/schedules/scheduled/resume", "")
	get[api.ScheduleRow](admin, http.StatusOK, "DELETE", "/api/v1/schedules/scheduled", "")
	admin.problem(http.StatusNotFound, "DELETE", "/api/v1/schedules/scheduled", "")
}

// A stream tells what has changed since an event, and goes on from there when it
// was cut; there is a bound on streams.
func TestEvents(t *testing.T) {
	t.Parallel()
	h, _, _ := serve(t, func(c *guard.Config) { c.Streams = 1 })
	c := client{t, h.URL, readToken}
	page := get[api.JobPage](c, http.StatusOK, "GET", "/api/v1/jobs?limit=1", "")
	id := coordinator.NewID("streamed", time.Now())
	create := func(state job.State) {
		_, rev, err := stack.Queue.Job(t.Context(), id)
		j := job.Job{ID: id, Name: "streamed", State: state, CreatedAt: time.Now(), FinishedAt: time.Now()}
		if err != nil {
			_, err = stack.Queue.CreateJob(t.Context(), j)
		} else {
			_, err = stack.Queue.UpdateJob(t.Context(), j, rev)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	create(job.Failed)
	until(t, func() bool {
		_, err := service.Job(t.Context(), id)
		p, err2 := service.Jobs(t.Context(), api.JobFilter{Text: id})
		return err == nil && err2 == nil && len(p.Jobs) == 1
	})
	last := follow(t, h.URL+fmt.Sprintf("/api/v1/events?after=%d", page.Revision), nil, func(name, id2, data string) bool {
		return name == "job" && strings.Contains(data, `"job":"`+id+`","pipeline":"streamed"`) && id2 != ""
	})
	until(t, func() bool { // that the stream has let go of its place
		resp, _ := c.do("GET", "/api/v1/jobs/"+id+"?wait=1ms", "")
		return resp.StatusCode == http.StatusOK
	})
	if err := stack.Queue.DeleteJob(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		p, err := service.Jobs(t.Context(), api.JobFilter{Text: id})
		return err == nil && len(p.Jobs) == 0
	})
	follow(t, h.URL+"/api/v1/events", map[string]string{"Last-Event-ID": last}, func(name, _, data string) bool {
		if name == "job" && strings.Contains(data, id) {
			t.Errorf("it is told again: %s", data)
		}
		return name == "gone" && data == `{"job":"`+id+`"}`
	})
	c.problem(http.StatusNotFound, "GET", "/api/v1/jobs/"+id+"/events", "")
	c.problem(http.StatusBadRequest, "GET", "/api/v1/events?after=x", "")
	// One that waits has the only place.
	full := coordinator.NewID("waited", time.Now())
	if _, err := stack.Queue.CreateJob(t.Context(), job.Job{ID: full, State: job.Paused, CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	follow(t, h.URL+"/api/v1/jobs/"+full+"/events?after=0", nil, func(name, _, _ string) bool {
		if name == "job" {
			c.problem(http.StatusServiceUnavailable, "GET", "/api/v1/jobs/"+full+"?wait=1m", "")
			c.problem(http.StatusServiceUnavailable, "GET", "/api/v1/events", "")
		}
		return name == "job"
	})
	if _, err := coordinator.Cancel(t.Context(), stack.Queue, full); err != nil {
		t.Fatal(err)
	}
}

// follow reads a stream until an event is the one that is looked for, and
// returns the last id.
func follow(t *testing.T, address string, headers map[string]string, found func(name, id, data string) bool) (last string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+readToken)
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %s %s", address, resp.Status, resp.Header.Get("Content-Type"))
	}
	var name, data string
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "id":
			last = value
		case "event":
			name = value
		case "data":
			data = value
		case "":
			if name != "" && found(name, last, data) {
				return last
			}
			name, data = "", ""
		}
	}
	t.Fatalf("%s ended: %v", address, lines.Err())
	return ""
}

// Without tokens a page of another site reaches nothing, whatever name leads to
// this machine.
func TestLoopback(t *testing.T) {
	t.Parallel()
	h, _, _ := serve(t, func(c *guard.Config) { c.Tokens = "" })
	c := client{t, h.URL, ""}
	if who := get[api.Identity](c, http.StatusOK, "GET", "/api/v1/whoami", ""); who.Name != "local" || who.Role != "admin" {
		t.Errorf("it is %+v", who)
	}
	get[api.JobPage](c, http.StatusOK, "GET", "/api/v1/jobs", "", "Host", "localhost:8390")
	if p := c.problem(http.StatusMisdirectedRequest, "GET", "/api/v1/jobs", "", "Host", "evil.example:8390"); !strings.Contains(p.Hint, "DRAY_HTTP_HOSTS") {
		t.Errorf("another name: %+v", p)
	}
	c.problem(http.StatusForbidden, "POST", "/api/v1/jobs/x/cancel", "", "Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site")
	c.problem(http.StatusNotFound, "POST", "/api/v1/jobs/x/cancel", "", "Sec-Fetch-Site", "same-origin")
	if p := c.problem(http.StatusNotFound, "GET", "/api/v1/nothing", ""); p.Hint == "" {
		t.Errorf("no such path: %+v", p)
	}
	if p := c.problem(http.StatusMethodNotAllowed, "PUT", "/api/v1/jobs", "{}"); !strings.Contains(p.Hint, "POST") {
		t.Errorf("no such method: %+v", p)
	}
	c.problem(http.StatusNotImplemented, "POST", "/api/v1/pipelines/validate", pipe("x", "x"), "Content-Type", "application/yaml")
	resp, _ := c.do("GET", "/api/v1/jobs", "")
	for name, part := range map[string]string{
		"Content-Security-Policy": "frame-ancestors 'none'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
	} {
		if !strings.Contains(resp.Header.Get(name), part) {
			t.Errorf("%s is %q", name, resp.Header.Get(name))
		}
	}
}

// A server that others would reach asks for tokens; one that ends ends its streams.
func TestServe(t *testing.T) {
	t.Parallel()
	cfg := config()
	if _, err := api.NewServer(cfg, "0.0.0.0:8390", api.ServerDeps{Service: service}); err == nil || !strings.Contains(err.Error(), "DRAY_HTTP_TOKENS_FILE") {
		t.Errorf("exposed without tokens: %v", err)
	}
	s, err := api.NewServer(cfg, "127.0.0.1:0", api.ServerDeps{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	address, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- s.Serve(ctx, func(a net.Addr) { address <- a.String() }) }()
	base := "http://" + <-address
	get[api.WorkerList](client{t, base, ""}, http.StatusOK, "GET", "/api/v1/workers", "")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(base + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil && ctx.Err() == nil {
		t.Error(err)
	}
}
