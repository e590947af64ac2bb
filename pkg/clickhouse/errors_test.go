package clickhouse_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

func TestClassOf(t *testing.T) {
	t.Parallel()
	exception := func(code int32) error {
		return fmt.Errorf("loading: %w", &clickhouse.Exception{Code: code, Message: "x"})
	}
	for _, tc := range []struct {
		err  error
		want job.Class
	}{
		{exception(252), job.SlowDown}, {exception(241), job.SlowDown}, {exception(202), job.SlowDown},
		{exception(159), job.SlowDown}, {exception(160), job.SlowDown}, {exception(209), job.SlowDown}, {exception(210), job.SlowDown},
		{exception(242), job.SlowDown}, {exception(999), job.SlowDown}, {exception(216), job.SlowDown},
		{exception(373), job.SlowDown}, {exception(364), job.SlowDown}, {exception(762), job.SlowDown}, {exception(778), job.SlowDown},
		{exception(158), job.TooBig}, {exception(307), job.TooBig}, {exception(396), job.TooBig},
		{exception(319), job.Unknown}, {exception(416), job.Unknown},
		{exception(394), job.Retry}, {exception(734), job.Retry}, {exception(372), job.Retry}, {exception(395), job.Permanent}, {exception(774), job.Permanent},
		{exception(60), job.Permanent}, {exception(16), job.Permanent}, {exception(53), job.Permanent}, {exception(27), job.Permanent}, {exception(497), job.Permanent},
		{exception(33), job.Retry}, {exception(123456), job.Retry},
		{job.WithClass(exception(60), job.SlowDown), job.SlowDown},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, job.SlowDown},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, job.Retry},
		{&tls.CertificateVerificationError{Err: errors.New("unknown authority")}, job.Permanent},
		{context.Canceled, job.Retry}, {context.DeadlineExceeded, job.Retry},
		{errors.New("anything"), job.Retry}, {nil, job.Retry},
	} {
		if got := clickhouse.ClassOf(tc.err); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.err, got, tc.want)
		}
	}
}

func TestOpenOfNobody(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	l.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	user := url.UserPassword("tester", password)
	for _, host := range []string{gone, silent.Addr().String(), "no-such-host.invalid:8123"} {
		cfg := clickhouse.Config{URL: (&url.URL{Scheme: "http", User: user, Host: host}).String(), DialTimeout: 300 * time.Millisecond}
		_, err := clickhouse.Open(t.Context(), cfg)
		if !errors.Is(err, clickhouse.ErrUnavailable) || !strings.Contains(err.Error(), "http://"+host) || !strings.Contains(err.Error(), "DRAY_CLICKHOUSE_URL") {
			t.Errorf("got %v", err)
		}
		wantClass(t, err, job.SlowDown)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := clickhouse.Open(ctx, clickhouse.Config{URL: "http://" + gone}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestOpenOfSomethingElse(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]job.Class{200: job.Retry, 404: job.Permanent, 502: job.SlowDown, 429: job.SlowDown, 403: job.Permanent} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, "<html>a page, with "+password)
		}))
		u, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("tester", password)
		_, err = clickhouse.Open(t.Context(), clickhouse.Config{URL: u.String()})
		server.Close()
		wantClass(t, err, want)
	}
	// TLS where there is none, and a certificate that nobody vouches for.
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	_, err := clickhouse.Open(t.Context(), clickhouse.Config{URL: strings.Replace(plain.URL, "http:", "https:", 1)})
	wantClass(t, err, job.Permanent)
	secret := httptest.NewUnstartedServer(http.NotFoundHandler())
	secret.Config.ErrorLog = nil
	secret.StartTLS()
	defer secret.Close()
	_, err = clickhouse.Open(t.Context(), clickhouse.Config{URL: secret.URL})
	wantClass(t, err, job.Permanent)
}

func TestOpenWithAWrongPassword(t *testing.T) {
	t.Parallel()
	_, err := clickhouse.Open(t.Context(), clickhouse.Config{URL: shared.URL(), Password: "wr0ng-pw"})
	if !errors.Is(err, clickhouse.ErrAuth) || strings.Contains(err.Error(), "wr0ng-pw") {
		t.Errorf("got %v", err)
	}
	wantClass(t, err, job.Permanent)
}

func TestNamesOfCodes(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL(), func(cfg *clickhouse.Config) { cfg.Database = "default" })
	known := map[string]bool{}
	for _, line := range strings.Split(query(t, c, "SELECT concat(toString(number), ' ', errorCodeToName(number)) FROM numbers(2000)"), "\n") {
		known[line] = true
	}
	for code, name := range clickhouse.Codes() {
		if !known[fmt.Sprintf("%d %s", code, name)] {
			t.Errorf("no code %d is %s", code, name)
		}
	}
}
