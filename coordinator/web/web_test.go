package web_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"drayage/coordinator/api"
	"drayage/coordinator/api/guard"
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

// served are the site's routes behind the coordinator's own server.
func served(cfg guard.Config) (*httptest.Server, error) {
	log := zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, NoColor: true}).Level(zerolog.ErrorLevel)
	page, err := web.New(web.Config{Service: service, Log: log})
	if err != nil {
		return nil, err
	}
	cfg.Session, cfg.Rate, cfg.Streams = time.Hour, 1e5, 256
	server, err := api.NewServer(cfg, "127.0.0.1:0", api.ServerDeps{Service: service, Log: log, Routes: page.Routes(), LoginPage: page.LoginPage})
	if err != nil {
		return nil, err
	}
	return httptest.NewServer(server.Handler()), nil
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
	service = api.New(api.Deps{
		Queue: stack.Queue, ClickHouse: stack.ClickHouse, Log: log,
		Trier: local.Trial{Config: cfg, ClickHouse: stack.ClickHouse, Engine: stack.Engine.Client(), Log: log},
	})
	running.Go(func() { _ = service.Run(ctx) })
	if site, err = served(guard.Config{}); err != nil {
		return fail(err)
	}
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
