package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/local"
)

// finding is what doctor found about one thing.
type finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Do     string `json:"do,omitempty"` // what to do about it
}

// freeWanted is the disk space below which doctor warns, in bytes.
const freeWanted = 2 << 30

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check what dray needs here: engine, data folder, NATS, ClickHouse",
		Long: `Check what dray needs on this machine, with this configuration, and say what to do
about what is missing. The exit code is 3 when something is.`,
		Example: "  dray doctor\n  dray doctor --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			findings := []finding{a.checkEngine(ctx), a.checkDisk(), a.checkNATS(ctx), a.checkClickHouse(ctx)}
			failed := false
			for _, f := range findings {
				failed = failed || !f.OK
			}
			if a.json {
				if err := a.printJSON(findings); err != nil {
					return err
				}
			} else {
				for _, f := range findings {
					mark := paint(a.Out, good, "ok  ")
					if !f.OK {
						mark = paint(a.Out, bad, "FAIL")
					}
					fmt.Fprintf(a.Out, "%s  %-11s %s\n", mark, f.Name, f.Detail)
					if f.Do != "" {
						fmt.Fprintf(a.Out, "                  do: %s\n", f.Do)
					}
				}
			}
			if failed {
				return &exitError{code: ExitEnvironment}
			}
			return nil
		},
	}
}

func (a *app) checkEngine(ctx context.Context) finding {
	f := finding{Name: "engine"}
	begin := time.Now()
	p, err := local.StartEngine(ctx, a.cfg, a.log)
	if err != nil {
		f.Detail = err.Error()
		if errors.Is(err, engine.ErrNoLibrary) {
			f.Do = "make engine, or set DRAY_LIBCHDB to a libchdb.so"
		}
		return f
	}
	defer p.Close()
	var rows []struct {
		Version string `json:"version"`
	}
	if err := p.Client().Rows(ctx, engine.Statement{SQL: "SELECT version() AS version"}, &rows); err != nil || len(rows) != 1 {
		f.Detail = fmt.Sprintf("it starts but does not answer: %v", err)
		return f
	}
	f.OK = true
	f.Detail = fmt.Sprintf("ClickHouse %s, started in %s; the kernel can hold it in a fleet: %s", rows[0].Version, time.Since(begin).Round(time.Millisecond), engine.ConfinementHere())
	return f
}

func (a *app) checkDisk() finding {
	f := finding{Name: "data folder"}
	if err := os.MkdirAll(a.cfg.DataDir, 0o700); err != nil {
		f.Detail, f.Do = err.Error(), "set DRAY_DATA_DIR to a folder that can be written"
		return f
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(a.cfg.DataDir, &fs); err != nil {
		f.Detail = fmt.Sprintf("%s: %v", a.cfg.DataDir, err)
		return f
	}
	free := fs.Bavail * uint64(fs.Bsize) //nolint:unconvert // the type differs by platform
	f.Detail = fmt.Sprintf("%s, %s free", a.cfg.DataDir, humanize.IBytes(free))
	if f.OK = free >= freeWanted; !f.OK {
		f.Do = "free some space, or set DRAY_DATA_DIR to another disk"
	}
	return f
}

func (a *app) checkNATS(ctx context.Context) finding {
	f := finding{Name: "NATS"}
	q, end, err := local.OpenQueue(ctx, a.cfg, a.log)
	if err != nil {
		f.Detail = err.Error()
		if a.cfg.Remote() {
			f.Do = "start NATS 2.14 or newer with JetStream there, or correct DRAY_NATS_URL"
		}
		return f
	}
	defer end()
	f.OK = true
	f.Detail = "embedded, works"
	if a.cfg.Remote() {
		f.Detail = "reached, with JetStream"
		if err := q.Check(ctx); err != nil {
			f.OK, f.Detail, f.Do = false, err.Error(), "start a coordinator: it sets the streams up"
		}
	}
	return f
}

func (a *app) checkClickHouse(ctx context.Context) finding {
	f := finding{Name: "ClickHouse"}
	ch, end, err := local.OpenClickHouse(ctx, a.cfg, a.log)
	if err != nil {
		f.Detail = err.Error()
		if errors.Is(err, clickhouse.ErrUnavailable) {
			f.Do = "start it, or correct DRAY_CLICKHOUSE_URL"
		}
		return f
	}
	defer end()
	if err := ch.EnsureLedger(ctx); err != nil {
		f.Detail, f.Do = err.Error(), "grant CREATE DATABASE, CREATE TABLE, INSERT and SELECT on drayage.*"
		return f
	}
	for _, name := range ch.Shards() {
		shard, err := ch.Shard(ctx, name)
		if err == nil {
			err = shard.EnsureLedger(ctx)
		}
		if err != nil {
			f.Detail, f.Do = err.Error(), "start it, grant there what DRAY_CLICKHOUSE_URL has, or correct DRAY_CLICKHOUSE_SHARDS"
			return f
		}
	}
	missing, err := ch.MissingViews(ctx)
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	if len(missing) > 0 {
		f.Detail, f.Do = fmt.Sprintf("it has not all views over the ledger: %v", missing), "GRANT CREATE VIEW, DROP VIEW ON drayage.*; loading works without them"
		return f
	}
	f.OK = true
	where := "embedded"
	if a.cfg.ClickHouse.URL != "" {
		where = ch.URLForPeople()
	}
	f.Detail = fmt.Sprintf("%s, version %s, the ledger can be written", where, ch.Version())
	if n := len(ch.Shards()); n > 0 {
		f.Detail += fmt.Sprintf(", on %d shards too", n)
	}
	return f
}
