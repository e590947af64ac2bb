package rest

import (
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source/sourcetest"
)

// What a server answers, and what becomes of the chunk.
func TestStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		header http.Header
		class  job.Class
		calls  int
		says   string
	}{
		"400":              {400, nil, job.Permanent, 1, "the bad field is day"},
		"401":              {401, nil, job.Permanent, 1, "credentials"},
		"403":              {403, nil, job.Permanent, 1, "credentials"},
		"404":              {404, nil, job.Permanent, 1, "check url"},
		"408":              {408, nil, job.Retry, 5, "408"},
		"422":              {422, nil, job.Permanent, 1, "the bad field is day"},
		"425":              {425, nil, job.Retry, 5, "425"},
		"429":              {429, nil, job.SlowDown, 5, "rate"},
		"429 for long":     {429, http.Header{"Retry-After": {"21"}}, job.SlowDown, 1, "come back in 21s"},
		"429 until a date": {429, http.Header{"Retry-After": {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}}, job.SlowDown, 1, "come back in"},
		"500":              {500, nil, job.Retry, 5, "500"},
		"503 for long":     {503, http.Header{"Retry-After": {"3600"}}, job.SlowDown, 1, "1h0m0s"},
		"418":              {418, nil, job.Permanent, 1, "418"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			s, _ := open(t, Config{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
				calls++
				for k, v := range tt.header {
					w.Header()[k] = v
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, "the bad field is day; you sent tok-12345 and "+r.Header.Get("Authorization"))
			}) + "/a?api_key=tok-12345", Bearer: "sesame-open"})
			_, err := read(t, s)
			sourcetest.WantError(t, err, tt.class, tt.says, "page 1", "/a")
			if calls != tt.calls {
				t.Errorf("%d requests, not %d", calls, tt.calls)
			}
			for _, secret := range []string{"tok-12345", "sesame-open"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("a secret is shown: %v", err)
				}
			}
		})
	}
}

// Trouble that ends is waited for, as long as the server says.
func TestRecovers(t *testing.T) {
	calls := 0
	s, clock := open(t, Config{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
		switch calls++; calls {
		case 1:
			w.WriteHeader(http.StatusInternalServerError)
		case 2:
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		case 3:
			panic(http.ErrAbortHandler) // the connection breaks, and net/http asks again by itself
		case 4:
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>one moment</html>")
		case 5:
			w.Header().Set("Retry-After", time.Now().Add(5*time.Second).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			sendJSON(w, `[%s]`, numbered(0, 2))
		}
	})})
	got, err := read(t, s)
	if err != nil || got != lines(0, 2) {
		t.Fatalf("%q, %v", got, err)
	}
	// A date has whole seconds.
	if len(clock.waits) != 4 || clock.waits[3] <= 3*time.Second || clock.waits[3] > 5*time.Second || clock.waits[1] != 7*time.Second || clock.waits[0] < firstBackoff || clock.waits[2] < 2*time.Second {
		t.Errorf("it waited %v", clock.waits)
	}
}

// Bodies, good and bad.
func TestBodies(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg   Config
		kind  string
		body  string
		want  string
		class job.Class
		says  []string // empty: no error
	}{
		"numbers stay text":     {body: `[ {"a" : 12345678901234567890.10, "b":1e400, "c": "é\u0000 <"} ]`, want: `{"a":12345678901234567890.10,"b":1e400,"c":"é\u0000 <"}` + "\n"},
		"null for no records":   {cfg: Config{Records: "items"}, body: `{"items": null}`},
		"no records":            {body: ` [ ] `},
		"a byte order mark":     {body: "\xef\xbb\xbf[{}]", want: "{}\n"},
		"NDJSON":                {kind: "application/x-ndjson", body: "{\"a\":1}\n\n{\"a\":2}\r\n{\"a\":3}", want: "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n"},
		"no lines":              {kind: "application/x-ndjson"},
		"an array called text":  {kind: "text/plain", body: "[{}]", want: "{}\n"},
		"one record":            {cfg: Config{Records: "."}, body: `{"a": 1}`, want: "{\"a\":1}\n"},
		"HTML":                  {kind: "text/html; charset=utf-8", body: "<html>Sign in</html>", class: job.Retry, says: []string{"200", "text/html", "Sign in"}},
		"HTML called JSON":      {body: "<html>Sign in", class: job.Retry, says: []string{"application/json", "Sign in"}},
		"nothing":               {body: "", class: job.Retry, says: []string{"empty"}},
		"cut in a record":       {body: `[{"a":1},{"a":`, class: job.Retry, says: []string{"ends early"}},
		"cut after a record":    {body: `[{"a":1}`, class: job.Retry, says: []string{"ends early"}},
		"cut after the records": {cfg: Config{Records: "d"}, body: `{"d":[{"a":1}]`, class: job.Retry, says: []string{"ends early"}},
		"broken":                {body: `[{"a":1},,]`, class: job.Retry, says: []string{"broken JSON after record 1"}},
		"more after the end":    {body: `[{"a":1}] {}`, class: job.Retry, says: []string{"more follows"}},
		"no path":               {cfg: Config{Records: "data.rows"}, body: `{"data": {"items": [], "total": 0}, "x": 1}`, class: job.Permanent, says: []string{`"data.rows"`, "data has the keys items, total"}},
		"no first key":          {cfg: Config{Records: "data.rows"}, body: `{"error": "no", "x": {"data": 1}}`, class: job.Permanent, says: []string{"it has the keys error, x"}},
		"an object at the path": {cfg: Config{Records: "data"}, body: `{"data": {"items": []}}`, class: job.Permanent, says: []string{"no array"}},
		"an object":             {body: `{"items": [{"a":1}]}`, class: job.Permanent, says: []string{"the keys items"}},
		"records of numbers":    {body: `[1]`, class: job.Permanent, says: []string{"record 1 is no object but a number"}},
		"too large":             {cfg: Config{MaxPage: 100}, body: "[" + numbered(0, 50) + "]", class: job.Permanent, says: []string{"larger than 100 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.kind == "" {
				tt.kind = "application/json"
			}
			tt.cfg.URL = serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				fmt.Fprint(w, tt.body)
			})
			s, _ := open(t, tt.cfg)
			got, err := read(t, s)
			if len(tt.says) > 0 {
				sourcetest.WantError(t, err, tt.class, tt.says...)
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// The bytes of a body may end early also below the JSON.
func TestTruncated(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			sendJSON(w, `[%s`, numbered(0, 3))
		},
		"gzip": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Type", "application/json")
			z := gzip.NewWriter(w)
			fmt.Fprintf(z, `[%s]`, numbered(0, 3))
			_ = z.Flush() // no end
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t, Config{URL: serve(t, handler)})
			_, err := read(t, s)
			sourcetest.WantError(t, err, job.Retry)
		})
	}
}

func TestGzip(t *testing.T) {
	s, _ := open(t, Config{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Error("gzip is not asked for")
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "application/json")
		z := gzip.NewWriter(w)
		fmt.Fprintf(z, `[%s]`, numbered(0, 3000))
		_ = z.Close()
	})})
	if got, err := read(t, s); err != nil || got != lines(0, 3000) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A body that never ends is left at max_page, and the server is told.
func TestEndlessBody(t *testing.T) {
	left := make(chan struct{})
	s, _ := open(t, Config{MaxPage: 1 << 20, URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(left)
		sendJSON(w, `[{"a":0}`)
		for r.Context().Err() == nil {
			if _, err := fmt.Fprint(w, `,{"a":1}`); err != nil {
				return
			}
		}
	})})
	_, err := read(t, s)
	sourcetest.WantError(t, err, job.Permanent, "larger than 1048576 bytes")
	<-left
}

// Requests keep to the rate also where there is a server.
func TestRateHeld(t *testing.T) {
	calls := 0
	s, _ := open(t, Config{Rate: "50/s", Paging: Paging{Kind: PagingPage, Param: "p"}, URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		sendJSON(w, `[%s]`, numbered(query(r, "p"), max(0, min(1, 6-query(r, "p")))))
	})})
	begin := time.Now()
	if got, err := read(t, s); err != nil || got != lines(1, 5) || calls != 6 {
		t.Fatalf("%q in %d requests, %v", got, calls, err)
	}
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("6 requests came within %s", took)
	}
}
