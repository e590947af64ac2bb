package web_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"drayage/coordinator/api"
	"drayage/coordinator/web"
	"drayage/pkg/local"
	"drayage/pkg/testkit"
)

// What all tests of this package share: a whole Drayage, and its page. Each
// works in jobs and tables of its own.
var (
	stack   *local.Stack
	service *api.Service
	site    *httptest.Server
)

func TestMain(m *testing.M) {
	testkit.Engine()
	os.Exit(run(m))
}

// strict is the policy that the coordinator serves the page under.
func strict(page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'")
		page.ServeHTTP(w, r)
	})
}

func run(m *testing.M) (code int) {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "dray-web-test-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "DRAY_") && name != "DRAY_LIBCHDB" || strings.HasPrefix(name, "CLICKHOUSE_") || name == "NATS_URL" {
			os.Unsetenv(name)
		}
	}
	os.Setenv("DRAY_DATA_DIR", dir)
	os.Setenv("DRAY_ACCOUNT_EVERY", "50ms")
	cfg, err := local.Load()
	if err != nil {
		return fail(err)
	}
	log := zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, NoColor: true}).Level(zerolog.WarnLevel)
	if stack, err = local.Start(context.Background(), cfg, log); err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() {
		if err := stack.Run(ctx, ""); err != nil {
			code = max(code, fail(fmt.Errorf("the stack ended: %w", err)))
		}
	})
	if err := stack.Queue.Check(ctx); err != nil {
		return fail(err)
	}
	service = api.New(api.Deps{Queue: stack.Queue, ClickHouse: stack.ClickHouse, Log: log})
	running.Go(func() { _ = service.Run(ctx) })
	page, err := web.New(web.Config{Service: service, Log: log})
	if err != nil {
		return fail(err)
	}
	site = httptest.NewServer(strict(page))
	code = m.Run()
	closeChromium()
	site.CloseClientConnections()
	site.Close()
	cancel()
	running.Wait()
	if _, err := stack.Close(); err != nil {
		code = max(code, fail(err))
	}
	return code
}
