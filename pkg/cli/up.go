package cli

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"drayage/pkg/local"
)

func (a *app) up() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Serve a whole Drayage in this process: NATS, ClickHouse, coordinator, worker, page",
		Long: `Serve a whole Drayage in this process until it is stopped: NATS and its streams in
DRAY_DATA_DIR, a coordinator, a worker with --slots, and the HTTP endpoints on
DRAY_HTTP_ADDR. The rows go to DRAY_CLICKHOUSE_URL or, where that is not set, to a
ClickHouse embedded here, with its data in DRAY_DATA_DIR.

Meanwhile the other verbs, in the same DRAY_DATA_DIR, speak to it: dray submit gives
it jobs, dray watch follows them, dray sql looks at the rows, and dray worker adds
workers. It writes where it is, with a token, into up.json there, which only its
user can read; the token stays the same, so that with --nats 127.0.0.1:4222 a
DRAY_NATS_URL made from it stays right.

SIGTERM or Ctrl-C drains it: chunks at work have DRAY_GRACE to be finished, and the
next dray up goes on with every job. A second signal ends it at once.`,
		Example: `  dray up
  DRAY_CLICKHOUSE_URL=http://default:secret@ch:8123/db dray up --slots 4
  dray up --nats 127.0.0.1:4222 --json`,
		Args:        cobra.NoArgs,
		Annotations: service,
	}
	slots := slotsFlag(cmd)
	listen := cmd.Flags().String("nats", "127.0.0.1:0", "address of this machine where other processes reach its NATS; port 0: any free one")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *slots != 0 {
			a.cfg.Worker.Slots = *slots
		}
		if a.cfg.Remote() && a.cfg.Up == nil {
			return hinted(usagef("DRAY_NATS_URL is set, and dray up has a NATS of its own"), "unset it, or serve that fleet with dray coordinator and dray worker")
		}
		return a.serveHere(cmd.Context(), *listen)
	}
	return cmd
}

// slotsFlag adds --slots to a command with a worker in it.
func slotsFlag(cmd *cobra.Command) *int {
	return cmd.Flags().Int("slots", 0, "chunks at work at once; 0: DRAY_SLOTS, or the number of CPUs")
}

// serveHere runs the all-in-one until ctx ends and it has drained.
func (a *app) serveHere(ctx context.Context, listen string) error {
	stack, err := local.StartShared(ctx, a.cfg, listen, a.log)
	switch {
	case errors.Is(err, local.ErrNotLoopback):
		return hinted(usagef("--nats: %w", err), "for other machines: a NATS of its own, with dray coordinator and dray worker")
	case err != nil:
		return err
	}
	closed := false
	shut := func() error {
		closed = true
		_, err := stack.Close()
		return err
	}
	defer func() {
		if !closed {
			_ = shut() // an error is on its way out already
		}
	}()
	if err := stack.Queue.Ensure(ctx); err != nil {
		return fmt.Errorf("setting up the streams: %w", err)
	}
	if err := stack.ClickHouse.EnsureLedger(ctx); err != nil {
		return fmt.Errorf("setting up the ledger: %w", err)
	}
	stack.Metrics = newMetrics(stack.Queue, stack.Engine)
	m := &member{stack.Queue, stack.ClickHouse, stack.Engine, stack.Metrics}
	group, serving := errgroup.WithContext(ctx)
	draining, drained := context.WithCancel(context.WithoutCancel(serving))
	defer drained()
	defer context.AfterFunc(serving, func() { a.log.Info().Msg("draining") })()
	address := make(chan string, 1)
	if !a.withHTTP() {
		address <- ""
	} else {
		web, err := a.coordinatorHTTP(m)
		if err != nil {
			return err
		}
		scheme := "http://"
		if a.cfg.HTTP.Cert != "" {
			scheme = "https://"
		}
		// It answers until the last chunk at work is finished.
		group.Go(func() error {
			return web(draining, func(addr net.Addr) { address <- scheme + addr.String() })
		})
	}
	group.Go(func() error {
		defer drained()
		return stack.Run(serving, "")
	})
	group.Go(func() error {
		select {
		case http := <-address:
			if err := stack.Announce(http); err != nil {
				return err
			}
			return a.printUp(stack, http)
		case <-serving.Done():
			return nil
		}
	})
	err = group.Wait()
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = nil // stopped as asked
	}
	return errors.Join(err, shut())
}

// printUp says where everything is, and no secret.
func (a *app) printUp(stack *local.Stack, http string) error {
	nats, where := "nats://"+stack.NATSAddress(), stack.ClickHouse.URLForPeople()
	if a.json {
		return a.printLine(struct {
			HTTP       string `json:"http"`
			NATS       string `json:"nats"`
			ClickHouse string `json:"clickhouse"`
			Embedded   bool   `json:"clickhouse_embedded"`
			DataDir    string `json:"data_dir"`
			Slots      int    `json:"slots"`
		}{http, nats, where, stack.Embedded(), a.cfg.DataDir, a.cfg.Worker.Slots})
	}
	if stack.Embedded() {
		where += "  embedded; dray sql asks it"
	}
	if http == "" {
		http = "none (DRAY_HTTP_ADDR)"
	}
	_, err := fmt.Fprintf(a.Out, `dray is up
  HTTP        %s
  NATS        %s  its token is in the data folder
  ClickHouse  %s
  data        %s
  slots       %d
  next        dray submit FILE --wait, dray watch; Ctrl-C drains and ends it
`, http, nats, where, a.cfg.DataDir, a.cfg.Worker.Slots)
	return err
}
