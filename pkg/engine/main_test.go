package engine

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// sharedEngine is what the tests share: one engine, started by the first that needs it.
type sharedEngine struct {
	once      sync.Once
	process   *Process
	err       error
	databases atomic.Int64
}

var shared sharedEngine

// TestMain lets the test binary be the child of the engines that it starts, and
// checks that the tests leave no goroutine behind.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "engine" {
		if err := ServeFromEnv(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == "parent" {
		beParent()
	}
	if len(os.Args) > 4 && os.Args[1] == "chdb" {
		beChdb(os.Args[2], os.Args[3], os.Args[4:]...)
		os.Exit(0)
	}
	code := m.Run()
	if shared.process != nil {
		if _, err := shared.process.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close the shared engine:", err)
			code = 1
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left behind:", err)
		code = 1
	}
	os.Exit(code)
}

// start starts an engine of the test's own.
func start(t *testing.T, cfg Config) *Process {
	t.Helper()
	cfg.Name = t.Name()
	cfg.Log = zerolog.Nop()
	p, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("start an engine: %v", err)
	}
	t.Cleanup(func() {
		if _, err := p.Close(); err != nil {
			t.Errorf("close the engine: %v", err)
		}
	})
	return p
}

// use returns the shared engine and a database of the test's own.
func use(t *testing.T) (*Process, string) {
	t.Helper()
	shared.once.Do(func() {
		shared.process, shared.err = Start(context.Background(), Config{Name: "shared", Log: zerolog.Nop()})
	})
	if shared.err != nil {
		t.Fatalf("start the shared engine: %v", shared.err)
	}
	db := fmt.Sprintf("d%d", shared.databases.Add(1))
	run(t, shared.process.Client(), "CREATE DATABASE "+db)
	return shared.process, db
}

// run runs a statement that must not fail.
func run(t *testing.T, c *Client, sql string) Summary {
	t.Helper()
	sum, err := c.Exec(t.Context(), Statement{SQL: sql})
	if err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
	return sum
}

// output is the output of a statement.
func output(ctx context.Context, c *Client, s Statement) (string, error) {
	body, err := c.Query(ctx, s)
	if err != nil {
		return "", err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	return strings.TrimSuffix(string(b), "\n"), err
}

// text is the output of a statement that must not fail, as TSV.
func text(t *testing.T, c *Client, sql string) string {
	t.Helper()
	out, err := output(t.Context(), c, Statement{SQL: sql})
	if err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
	return out
}

// eventually waits for what comes by itself.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); time.Now().Before(deadline); <-tick.C {
		if is() {
			tick.Stop()
			return
		}
	}
	t.Fatalf("in vain waited for: %s", what)
}

// answer is a reply as curl shows it.
type answer struct {
	status int
	header http.Header
	body   string
}

// curl sends what curl would: method, parameters, headers, body.
func curl(t *testing.T, p *Process, method string, parameters url.Values, header http.Header, body io.Reader) answer {
	t.Helper()
	u, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.Path, u.RawQuery = "/", parameters.Encode()
	req, err := http.NewRequestWithContext(t.Context(), method, u.String(), body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %v: %v", method, parameters, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %v: read the reply: %v", method, parameters, err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func with(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}
