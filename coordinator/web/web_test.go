package web_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"drayage/coordinator/api"
	"drayage/coordinator/api/guard"
	"drayage/coordinator/web"
	"drayage/pkg/local"
	"drayage/pkg/testkit/fleet"
)

// What all tests of this package share: a whole Drayage, and its page. Each
// works in jobs and tables of its own.
var (
	stack   *fleet.Fleet
	service *api.Service
	site    *httptest.Server
)

func TestMain(m *testing.M) {
	fleet.Main(m, fleet.Setup{}, func(f *fleet.Fleet) (func(), error) {
		stack = f
		service = api.New(api.Deps{
			Queue: f.Queue, ClickHouse: f.ClickHouse, Log: f.Log,
			Trier: local.Trial{Config: f.Config, ClickHouse: f.ClickHouse, Engine: f.Engine.Client(), Log: f.Log},
		})
		f.Go(service.Run)
		var err error
		site, err = served(guard.Config{}, nil)
		return func() {
			closeChromium()
			site.CloseClientConnections()
			site.Close()
		}, err
	})
}

// served are the site's routes behind the coordinator's own server, and that
// behind what around makes of it, if anything.
func served(cfg guard.Config, around func(http.Handler) http.Handler) (*httptest.Server, error) {
	page, err := web.New(web.Config{Service: service, Log: stack.Log})
	if err != nil {
		return nil, err
	}
	cfg.Session, cfg.Rate, cfg.Streams = time.Hour, 1e5, 256
	server, err := api.NewServer(cfg, "127.0.0.1:0", api.ServerDeps{Service: service, Log: stack.Log, Routes: page.Routes(), LoginPage: page.LoginPage})
	if err != nil {
		return nil, err
	}
	handler := server.Handler()
	if around != nil {
		handler = around(handler)
	}
	return httptest.NewServer(handler), nil
}
