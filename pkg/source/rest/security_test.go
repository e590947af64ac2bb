package rest

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
)

// No credential goes to the host of a redirect.
func TestRedirect(t *testing.T) {
	var got http.Header
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		sendJSON(w, `[{}]`)
	})
	api := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/same" {
			got = r.Header
			sendJSON(w, `[{}]`)
			return
		}
		http.Redirect(w, r, map[string]string{"/here": "/same", "/there": other}[r.URL.Path], http.StatusTemporaryRedirect)
	})
	cfg := Config{Bearer: "sesame-open", Headers: map[string]string{"X-Api-Key": "k-12345"}}
	for path, kept := range map[string]bool{"/here": true, "/there": false} {
		cfg.URL = api + path + "?token=tok-12345"
		s, _ := open(t, cfg)
		if _, err := read(t, s); err != nil {
			t.Fatal(err)
		}
		if (got.Get("Authorization") != "") != kept || (got.Get("X-Api-Key") != "") != kept || !kept && got.Get("Referer") != "" {
			t.Errorf("%s was asked with %v", path, got)
		}
	}
	cfg.Method, cfg.Body = http.MethodPost, "{}"
	cfg.URL = api + "/here"
	s, _ := open(t, cfg)
	if _, err := read(t, s); err != nil {
		t.Error(err)
	}
	cfg.URL = api + "/there"
	s, _ = open(t, cfg)
	_, err := read(t, s)
	sourcetest.WantError(t, err, job.Permanent, "not followed")
}

// The server's certificate must be trusted: by the system, or by ca_file.
func TestTLS(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, `[{}]`) }))
	defer srv.Close()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, Config{URL: srv.URL})
	_, err := read(t, s)
	sourcetest.WantError(t, err, job.Permanent, "certificate")
	s, _ = open(t, Config{URL: srv.URL, Certificates: source.Certificates{CAFile: path}})
	if got, err := read(t, s); err != nil || got != "{}\n" {
		t.Errorf("%q, %v", got, err)
	}
	s, _ = open(t, Config{URL: srv.URL, Certificates: source.Certificates{CAFile: "missing.pem"}})
	_, err = read(t, s)
	sourcetest.WantError(t, err, job.Permanent, "missing.pem", srv.URL)
}

// The URL, which stands in the errors of net/http, is not shown.
func TestNoConnection(t *testing.T) {
	s, _ := open(t, Config{URL: "http://127.0.0.1:1/a?token=tok-12345", Bearer: "sesame-open"})
	_, err := read(t, s)
	sourcetest.WantError(t, err, job.Retry, "http://127.0.0.1:1/a", "refused")
	if strings.Contains(err.Error(), "12345") {
		t.Errorf("%v", err)
	}
}

func TestMistakes(t *testing.T) {
	days := Range{Days: &Days{From: "2026-01-01", To: "2026-01-03"}}
	const u = "https://a.example/x"
	for name, tt := range map[string]struct {
		cfg   Config
		field string // empty: none is wrong
	}{
		"whole":             {Config{URL: u}, ""},
		"days":              {Config{URL: u + "?d={from}", Range: days}, ""},
		"no url":            {Config{}, "url"},
		"no scheme":         {Config{URL: "a.example/x"}, "url"},
		"user in url":       {Config{URL: "https://u:secret@a.example/x"}, "url"},
		"host of values":    {Config{URL: "https://{value}.example/x", Range: Range{Values: []string{"a"}}}, "url"},
		"method":            {Config{URL: u, Method: "PUT"}, "method"},
		"body of GET":       {Config{URL: u, Body: "{}"}, "body"},
		"two credentials":   {Config{URL: u, Bearer: "a", Basic: &Basic{"u", "p"}}, "basic"},
		"authorization too": {Config{URL: u, Bearer: "a", Headers: map[string]string{"authorization": "x"}}, "headers.authorization"},
		"header break":      {Config{URL: u, Headers: map[string]string{"X-A": "a\r\nB: c"}}, "headers.X-A"},
		"encoding":          {Config{URL: u, Headers: map[string]string{"accept-encoding": "br"}}, "headers.accept-encoding"},
		"path":              {Config{URL: u, Records: "a..b"}, "records"},
		"paging kind":       {Config{URL: u, Paging: Paging{Kind: "pages"}}, "paging.kind"},
		"no param":          {Config{URL: u, Paging: Paging{Kind: PagingPage}}, "paging.param"},
		"no cursor":         {Config{URL: u, Paging: Paging{Kind: PagingCursor, Param: "c"}}, "paging.cursor"},
		"size alone":        {Config{URL: u, Paging: Paging{Size: 5}}, "paging.size"},
		"param in url":      {Config{URL: u + "?p=1", Paging: Paging{Kind: PagingPage, Param: "p"}}, "paging"},
		"range unused":      {Config{URL: u, Range: days}, "range"},
		"no range":          {Config{URL: u + "?d={from}"}, "range"},
		"values unused":     {Config{URL: u, Range: Range{Values: []string{"a"}}}, "range.values"},
		"no values":         {Config{URL: u + "/{value}"}, "range.values"},
		"30 February":       {Config{URL: u + "/{from}", Range: Range{Days: &Days{From: "2026-01-01", To: "2026-02-30"}}}, "range"},
		"backwards":         {Config{URL: u + "/{from}", Range: Range{IDs: &IDs{From: 5, To: 5, Step: 1}}}, "range"},
		"no step":           {Config{URL: u + "/{from}", Range: Range{IDs: &IDs{From: 5, To: 6}}}, "range"},
		"two ranges":        {Config{URL: u + "/{from}", Range: Range{Days: days.Days, Values: []string{"a"}}}, "range"},
		"from and last":     {Config{URL: u + "/{from}", Range: Range{Days: &Days{From: "2026-01-01", To: "2026-02-02", Last: 3}}}, "range"},
		"layout":            {Config{URL: u + "/{from}", Range: Range{Days: &Days{Last: 3, To: "2026-02-02", Layout: "yyyy-mm-dd"}}}, "range.days.layout"},
		"wide, no end":      {Config{URL: u + "/{from}", Range: Range{Days: &Days{From: "2026-01-01", To: "2026-02-02", Step: 7}}}, "range"},
		"wide":              {Config{URL: u + "/{from}/{last}", Range: Range{Days: &Days{From: "2026-01-01", To: "2026-02-02", Step: 7}}}, ""},
		"key without cert":  {Config{URL: u, Certificates: source.Certificates{KeyFile: "a"}}, "cert_file"},
		"rate":              {Config{URL: u, Rate: "10"}, "rate"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(tt.cfg)
			sourcetest.WantMistake(t, err, tt.field, "")
		})
	}
}

// The end of the context ends a read at once, also one that waits for a server.
func TestCancel(t *testing.T) {
	stuck := make(chan struct{})
	asked := make(chan struct{}, 1)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		sendJSON(w, `[{"a":1},`)
		w.(http.Flusher).Flush()
		asked <- struct{}{}
		<-stuck
	})
	t.Cleanup(func() { close(stuck) })
	seats := 0
	s, _ := open(t, Config{URL: url, Seats: func(ctx context.Context) (context.Context, func(), error) {
		seats++
		return ctx, func() { seats-- }, nil
	}})
	why := errors.New("the worker stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	in, err := s.Open(ctx, planned(t, s, nil)[0].Input, nil)
	if err != nil || seats != 1 {
		t.Fatal(seats, err)
	}
	<-asked
	cancel(why)
	if _, err := in.Reader.Read(make([]byte, 10)); !errors.Is(err, why) {
		t.Errorf("the error is %v", err)
	}
	if err := in.Close(); err != nil || seats != 0 {
		t.Error(seats, err)
	}
}
