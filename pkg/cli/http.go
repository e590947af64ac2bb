package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"drayage/coordinator/api"
	"drayage/coordinator/api/guard"
	"drayage/coordinator/web"
	"drayage/pkg/local"
	"drayage/pkg/version"
)

// serveHTTP answers HTTP until ctx ends, and calls ready once it listens.
type serveHTTP func(ctx context.Context, ready func(net.Addr)) error

// withHTTP reports whether HTTP is served at all.
func (a *app) withHTTP() bool { return a.cfg.HTTPAddr != "" && a.cfg.HTTPAddr != "none" }

// workerHTTP serves what a worker answers.
func (a *app) workerHTTP(m *member) (serveHTTP, error) {
	return func(ctx context.Context, ready func(net.Addr)) error {
		return m.endpoints().Serve(ctx, a.cfg.HTTPAddr, ready)
	}, nil
}

// coordinatorHTTP serves what a coordinator answers.
func (a *app) coordinatorHTTP(m *member) (serveHTTP, error) {
	view := api.New(api.Deps{
		Queue: m.queue, ClickHouse: m.clickhouse, Log: a.log, Sources: a.with.Sources, Allow: a.cfg.Rules, Metrics: m.metrics.Coordinator(),
		Trier: local.Trial{Config: a.cfg, ClickHouse: m.clickhouse, Engine: m.engine.Client(), Log: a.log},
	})
	page, err := web.New(web.Config{Service: view, Log: a.log})
	if err != nil {
		return nil, err
	}
	deps := api.ServerDeps{Service: view, Log: a.log, Version: version.Version, Routes: page.Routes(), LoginPage: page.LoginPage}
	endpoints := m.endpoints().Handler()
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		deps.Routes = append(deps.Routes, api.Route{Pattern: "GET " + path, Role: guard.Open, Handler: endpoints})
	}
	server, err := api.NewServer(a.cfg.HTTP, a.cfg.HTTPAddr, deps)
	if err != nil {
		return nil, &usageError{err}
	}
	return func(ctx context.Context, ready func(net.Addr)) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return view.Run(ctx) })
		group.Go(func() error { return server.Serve(ctx, ready) })
		return group.Wait()
	}, nil
}

func (a *app) health() *cobra.Command {
	return &cobra.Command{
		Use:    "health",
		Short:  "Ask the service on DRAY_HTTP_ADDR whether it is ready (for container health checks)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			host, port, err := net.SplitHostPort(a.cfg.HTTPAddr)
			if err != nil {
				return usagef("DRAY_HTTP_ADDR is %q, not host:port", a.cfg.HTTPAddr)
			}
			if host == "" || host == "0.0.0.0" || host == "::" {
				host = "127.0.0.1"
			}
			scheme, client := "http", http.DefaultClient
			if a.cfg.HTTP.Cert != "" {
				// This process's own machine is asked, for no secret and under a
				// name that the certificate need not have. A worker has none.
				scheme = "https"
				client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above
			}
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/readyz", nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return fmt.Errorf("asking for health: %w", err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("not ready: %s", strings.TrimSpace(resp.Status))
			}
			_, err = fmt.Fprintln(a.Out, "ready")
			return err
		},
	}
}
