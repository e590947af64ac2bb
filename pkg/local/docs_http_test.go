package local_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"drayage/pkg/job"
)

// shop is an API of invoices, 40 of each day, in pages of at most limit.
type shop struct {
	mu    sync.Mutex
	calls int
	wrong []string // what was asked for and should not be
}

const shopToken = "hunter2hunter2"

// ServeHTTP has a bad moment at its third request, and a worse one after it.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	q := r.URL.Query()
	from, err1 := time.Parse(time.DateOnly, q.Get("from"))
	to, err2 := time.Parse(time.DateOnly, q.Get("to"))
	limit, err3 := strconv.Atoi(q.Get("limit"))
	if err1 != nil || err2 != nil || err3 != nil || r.URL.Path != "/v1/invoices" || r.Header.Get("Authorization") != "Bearer "+shopToken {
		s.wrong = append(s.wrong, r.URL.String()+" "+r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch s.calls {
	case 3:
		w.WriteHeader(http.StatusInternalServerError)
		return
	case 4:
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html>Back soon</html>")
		return
	}
	day := func(t time.Time) int { return int(t.Unix() / 86400) }
	end := 40 * day(to)
	at := 40 * day(from)
	if after := q.Get("after"); after != "" {
		at, _ = strconv.Atoi(after)
	}
	var items []string
	for ; at < end && len(items) < limit; at++ {
		created := time.Unix(int64(at/40)*86400+int64(at%40), 0).UTC().Format(time.RFC3339)
		items = append(items, fmt.Sprintf(`{"id": %d, "created_at": "%s", "customer": {"name": "it's %d"}, "total": "%d.50", "more": [1]}`, at, created, at, at%10))
	}
	next := "null"
	if at < end {
		next = fmt.Sprintf(`"%d"`, at)
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"meta": {"next_cursor": %s}, "data": {"items": [%s]}}`, next, strings.Join(items, ","))
}

// The pipeline of the page runs as it stands there, though the API answers with
// 500 and then with HTML.
func TestDocumentedHTTP(t *testing.T) {
	s := &shop{}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	t.Setenv("SHOP_API", srv.URL)
	t.Setenv("SHOP_TOKEN", shopToken)
	j := stack.Ended(t, submit(t, t.TempDir(), documented(t, "source-http.md", "billing")))
	endsWith(t, j, job.Done, 31*40, "SELECT count(), uniqExact(id), min(created_at), max(created_at), sum(total), countIf(customer = concat('it\\'s ', toString(id))), countIf(note IS NULL) FROM billing",
		"1240\t1240\t2026-01-01 00:00:00\t2026-01-31 00:00:39\t6200\t1240\t1240")
	if j.Totals.Chunks != 5 || len(s.wrong) > 0 {
		t.Errorf("%d chunks; wrong requests: %q", j.Totals.Chunks, s.wrong)
	}
}

// What an API does wrong ends what it has to end, and nothing else; what is read
// of it is in the target or in quarantine.
func TestHTTPTrouble(t *testing.T) {
	t.Parallel()
	page := func(w http.ResponseWriter, text string) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, text)
	}
	var mu sync.Mutex
	cut := 0
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	mux.HandleFunc("/locked", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "no right for "+r.Header.Get("X-Key"))
	})
	mux.HandleFunc("/ids", func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.URL.Query().Get("from"))
		n, _ := strconv.Atoi(r.URL.Query().Get("page"))
		what := r.URL.Query().Get("what")
		at := from + 2*(n-1)
		records := fmt.Sprintf(`{"id": %d}, {"id": %d}`, at, at+1)
		switch {
		case from != 10:
		case what == "html":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>Back soon</html>")
			return
		case what == "repeats" && n > 1:
			n, records = 1, `{"id": 10}, {"id": 11}`
		case what == "cut":
			mu.Lock()
			cut++
			first := cut == 1
			mu.Unlock()
			if first {
				w.Header().Set("Content-Length", "1000")
			}
		case what == "slow" && n == 2:
			<-time.After(1500 * time.Millisecond) // longer than the reader is left without a sign of life
			records = `{"id": "twelve"}`
		case what == "bad" && n == 1:
			records = `{"id": 10}, {"id": "eleven"}, {"id": -1}`
		}
		if n > 3 {
			records = ""
		}
		page(w, "["+records+"]")
	})
	for name, tt := range map[string]struct {
		state        job.State
		loaded, dead uint64
		rejected     uint64
		says         string
	}{
		"repeats": {job.DoneWithRejects, 12, 1, 0, "page 2 is the same as the one before"},
		"html":    {job.DoneWithRejects, 12, 1, 0, "text/html"},
		"cut":     {job.Done, 18, 0, 0, ""},
		"slow":    {job.DoneWithRejects, 16, 0, 1, ""},
		"bad":     {job.DoneWithRejects, 17, 0, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := submit(t, t.TempDir(), fmt.Sprintf(`pipeline: p
source:
  http:
    url: %s/ids?what=%s&from={from}&to={to}
    paging: {kind: page, param: page}
    range: {ids: {from: 0, to: 30, step: 10}}
    retries: 0
  columns: id UInt32
retry: {attempts: 2, backoff: 10ms..20ms}
reject: {max: 50%%}
load: {table: http_%s, order_by: id}
`, srv.URL, name, name))
			j := stack.Ended(t, id)
			if j.Totals.Dead != tt.dead || j.Totals.RowsRejected != tt.rejected {
				t.Errorf("the totals are %+v", j.Totals)
			}
			endsWith(t, j, tt.state, tt.loaded, "SELECT count(), uniqExact(id) FROM http_"+name, fmt.Sprintf("%[1]d\t%[1]d", tt.loaded))
			if tt.dead == 0 {
				return
			}
			letters, err := stack.Queue.DeadLetters(t.Context(), id, 10)
			if err != nil || len(letters) != 1 || !strings.Contains(letters[0].Error, tt.says) || !strings.Contains(letters[0].Error, "/ids 10 to 20, page ") || strings.Contains(letters[0].Error, "what=") {
				t.Errorf("the dead letters are %+v, %v", letters, err)
			}
		})
	}
	t.Run("locked", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		write(t, dir, "key", "sesame-sesame\n")
		j := stack.Ended(t, submit(t, dir, fmt.Sprintf("pipeline: p\nsource:\n  http: {url: %s/locked, headers: {X-Key: '${file:%s/key}'}}\n  columns: id UInt32\nload: {table: http_locked, order_by: id}\n", srv.URL, dir)))
		if j.State != job.Failed || !strings.Contains(j.Error, "403") || !strings.Contains(j.Error, "credentials") || strings.Contains(j.Error, "sesame") {
			t.Errorf("the job is %s: %s", j.State, j.Error)
		}
	})
}

// The days before a job are settled when it is created, for every chunk.
func TestHTTPLastDays(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"day": "%s"}`, strings.TrimPrefix(r.URL.Path, "/"))
	}))
	t.Cleanup(srv.Close)
	j := stack.Ended(t, submit(t, t.TempDir(), fmt.Sprintf(`pipeline: p
source:
  http:
    url: %s/{from}
    records: "."
    range: {days: {last: 3, to: "${job_time}"}}
  columns: day Date
load: {table: http_last_days, order_by: day}
`, srv.URL)))

	today := j.Frozen.JobTime.UTC()
	want := today.AddDate(0, 0, -3).Format(time.DateOnly) + "\t" + today.AddDate(0, 0, -1).Format(time.DateOnly) + "\t3"
	endsWith(t, j, job.Done, 3, "SELECT min(day), max(day), count() FROM http_last_days", want)
}
