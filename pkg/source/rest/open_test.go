package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/source/sourcetest"
)

// loaded reads all chunks with the engine, as a worker does.
func loaded(t *testing.T, s *Source, columns []job.Column) (string, error) {
	t.Helper()
	text, err := read(t, s)
	if err != nil {
		return "", err
	}
	path := filepath.Join(t.TempDir(), "records")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, c := range columns {
		parts = append(parts, "`"+c.Name+"` "+c.Type)
	}
	in, err := s.Open(t.Context(), planned(t, s, nil)[0].Input, columns)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := eng.Query(t.Context(), engine.Statement{
		SQL:      fmt.Sprintf("SELECT * FROM file(%s, %s, %s) FORMAT JSONCompactEachRow", literal(path), literal(in.Format), literal(strings.Join(parts, ", "))),
		Settings: in.Settings,
	})
	if err != nil {
		return "", err
	}
	defer out.Close()
	rows, err := io.ReadAll(out)
	return string(rows), err
}

// The engine reads what comes, under declared and under inferred columns; a key
// that inference did not see is not dropped.
func TestLoaded(t *testing.T) {
	api := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/1":
			sendJSON(w, `[{"id": 18446744073709551615, "at": "2026-01-02T03:04:05.25+02:00", "in": {"a": [1, 2]}, "price": 0.10}]`)
		case "/2":
			sendJSON(w, `[{"id": 7, "in": null, "new": 1}]`)
		}
	}
	cfg := Config{URL: serve(t, api) + "/{value}", Range: Range{Values: []string{"1", "2"}}}
	declared := []job.Column{{Name: "id", Type: "UInt64"}, {Name: "at", Type: "Nullable(DateTime64(3, 'UTC'))"}, {Name: "in", Type: "Nullable(String)"}, {Name: "price", Type: "Nullable(Decimal(9, 2))"}}
	cfg.Columns = declared
	s, _ := open(t, cfg)
	got, err := loaded(t, s, declared)
	want := `[18446744073709551615, "2026-01-02 01:04:05.250", "{\"a\":[1,2]}", 0.1]` + "\n[7, null, null, null]\n"
	if err != nil || got != want {
		t.Errorf("%s%v", got, err)
	}
	cfg.Columns = nil
	s, _ = open(t, cfg)
	inferred, err := s.Columns(t.Context(), eng)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loaded(t, s, inferred); err == nil || !strings.Contains(err.Error(), "new") {
		t.Errorf("the key that is new is no error: %v", err)
	}
	cfg.Columns = []job.Column{{Name: "ID", Type: "UInt64"}}
	s, _ = open(t, cfg)
	_, err = s.Columns(t.Context(), eng)
	sourcetest.WantError(t, err, job.Permanent, "none of the declared columns, but at, id, in, price")
}

// A server that says nothing for longer than timeout is left, before and within
// its answer.
func TestSilent(t *testing.T) {
	for name, begin := range map[string]string{"before": "", "within": `[{"a":1},`} {
		t.Run(name, func(t *testing.T) {
			stuck := make(chan struct{})
			none := 0
			s, _ := open(t, Config{Timeout: "50ms", Retries: &none, URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if begin != "" {
					sendJSON(w, "%s", begin)
					w.(http.Flusher).Flush()
				}
				<-stuck
			})})
			defer close(stuck)
			_, err := read(t, s)
			sourcetest.WantError(t, err, job.Retry, "silent", "50ms")
		})
	}
}

// Who waits for the API is told that the chunk is not stuck, by what the format
// ignores.
func TestHeartbeat(t *testing.T) {
	second := make(chan struct{})
	s, _ := open(t, Config{Paging: Paging{Kind: PagingPage, Param: "p"}, URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch query(r, "p") {
		case 1:
			sendJSON(w, `[{"a":1}]`)
		case 2:
			<-second
			fallthrough
		default:
			sendJSON(w, `[]`)
		}
	})})
	s.beat = time.Millisecond
	in, err := s.Open(t.Context(), planned(t, s, nil)[0].Input, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b := make([]byte, 100)
	text := ""
	for !strings.HasSuffix(text, "}\n\n\n\n") { // the first page is given before the second comes
		n, err := in.Reader.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		text += string(b[:n])
	}
	close(second)
	rest, err := io.ReadAll(in.Reader)
	if err != nil || strings.TrimSpace(text+string(rest)) != `{"a":1}` {
		t.Errorf("%q, %v", text+string(rest), err)
	}
}

// The end of a seat ends the read, and Close, at any time, all that goes on.
func TestSeatLost(t *testing.T) {
	stuck, asked := make(chan struct{}), make(chan struct{}, 2)
	lost := errors.New("the seat is lost")
	var lose context.CancelCauseFunc
	free := 1
	s, _ := open(t, Config{
		URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
			sendJSON(w, `[{"a":1},`)
			w.(http.Flusher).Flush()
			asked <- struct{}{}
			<-stuck
		}),
		Seats: func(ctx context.Context) (context.Context, func(), error) {
			free--
			ctx, lose = context.WithCancelCause(ctx)
			return ctx, func() { free++ }, nil
		},
	})
	defer close(stuck)
	for name, end := range map[string]func(close func() error){
		"lost":   func(func() error) { lose(lost) },
		"closed": func(closeInput func() error) { _ = closeInput() },
	} {
		t.Run(name, func(t *testing.T) {
			in, err := s.Open(t.Context(), planned(t, s, nil)[0].Input, nil)
			if err != nil {
				t.Fatal(err)
			}
			if free != 0 {
				t.Error("no seat was taken")
			}
			<-asked
			read := make(chan error)
			go func() {
				_, err := io.Copy(io.Discard, in.Reader)
				read <- err
			}()
			end(in.Close)
			if err := <-read; !errors.Is(err, map[string]error{"lost": lost, "closed": errClosed}[name]) {
				t.Errorf("the error is %v", err)
			}
			if name == "lost" {
				_ = in.Close()
			}
			if free != 1 {
				t.Error("the seat was not given back")
			}
		})
	}
}

// Requests keep to the rate, over all chunks of the process.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, Config{URL: "http://a", Rate: "600/m"})
		begin := time.Now()
		done := make(chan error)
		for range 3 {
			go func() {
				for range 7 {
					if err := s.allow(t.Context()); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begin); took < 1990*time.Millisecond || took > 2010*time.Millisecond {
			t.Errorf("21 requests took %s", took)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the worker stops")
		cancel(why)
		if err := s.allow(ctx); err == nil {
			t.Error("it does not stop")
		}
	})
}

// Memory does not grow with a page.
func TestMemory(t *testing.T) {
	const n = 150_000
	s, _ := open(t, Config{Records: "rows", URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
		sendJSON(w, `{"rows": [`)
		for i := range n {
			if i > 0 {
				_, _ = io.WriteString(w, ",")
			}
			fmt.Fprintf(w, `{"id": %d, "text": "%080d"}`, i, i)
		}
		_, _ = io.WriteString(w, "]}")
	})})
	in, err := s.Open(t.Context(), planned(t, s, nil)[0].Input, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	buf := make([]byte, 1<<20)
	var total, peak int64
	for reads := 0; ; reads++ {
		k, err := in.Reader.Read(buf)
		total += int64(k)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if reads%100 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			peak = max(peak, int64(now.HeapAlloc)-int64(before.HeapAlloc))
		}
	}
	if total < n*100 || peak > 4<<20 {
		t.Errorf("%d bytes were read with %d of memory", total, peak)
	}
}

// POST sends the page within its body, escaped.
func TestPost(t *testing.T) {
	var bodies []string
	var auth, kind string
	cfg := Config{
		Method: http.MethodPost, Basic: &Basic{"user", "pa:ss"}, Records: "r",
		Body:   `{"tenant": "{value}", "page": {page}}`,
		Paging: Paging{Kind: PagingPage}, Range: Range{Values: []string{`a"b`, "c"}},
	}
	cfg.URL = serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		user, pass, _ := r.BasicAuth()
		auth, kind = user+" "+pass, r.Header.Get("Content-Type")
		if len(bodies)%2 == 0 {
			sendJSON(w, `{"r": []}`)
			return
		}
		sendJSON(w, `{"r": [{}]}`)
	})
	s, _ := open(t, cfg)
	_, err := read(t, s)
	want := `[{"tenant": "a\"b", "page": 1} {"tenant": "a\"b", "page": 2} {"tenant": "c", "page": 1} {"tenant": "c", "page": 2}]`
	if got := fmt.Sprint(bodies); err != nil || got != want || auth != "user pa:ss" || kind != "application/json" {
		t.Errorf("%s %s %s, %v", got, auth, kind, err)
	}
	bodies, cfg.Body, cfg.Headers = nil, "t={value}&p={page}", map[string]string{"content-type": "application/x-www-form-urlencoded"}
	s, _ = open(t, cfg)
	if _, err := read(t, s); err != nil || bodies[0] != "t=a%22b&p=1" || kind != "application/x-www-form-urlencoded" {
		t.Errorf("%s %s, %v", bodies, kind, err)
	}
}
