package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"drayage/pkg/engine"
	"drayage/pkg/local"
)

// finding is what doctor found about one thing.
type finding struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Warning bool   `json:"warning,omitempty"` // it works, and something should be done
	Detail  string `json:"detail"`
	Do      string `json:"do,omitempty"` // what to do about it
}

func fine(name, format string, args ...any) finding {
	return finding{Name: name, OK: true, Detail: fmt.Sprintf(format, args...)}
}

func warn(name, do, format string, args ...any) finding {
	return finding{Name: name, OK: true, Warning: true, Do: do, Detail: fmt.Sprintf(format, args...)}
}

func broken(name, do, format string, args ...any) finding {
	return finding{Name: name, Do: do, Detail: fmt.Sprintf(format, args...)}
}

// freeWanted is the disk space below which doctor warns, in bytes.
const freeWanted = 2 << 30

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check what dray needs here: engine, disk, NATS, ClickHouse, clocks, address",
		Long: `Check what dray needs on this machine, with this configuration, and say what to do
about what is missing: the engine; the data folder; version and settings of NATS;
version, rights and deduplication of ClickHouse, tried on scratch tables that are
dropped again; the clocks of both; DRAY_HTTP_ADDR. Whether NATS syncs every write, and
has room for the streams, is asked at its monitoring address, DRAY_NATS_MONITOR, or
port 8222 of its host.
The exit code is 3 when something is missing; a warning alone leaves it 0.`,
		Example: "  dray doctor\n  dray doctor --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			findings := append([]finding{a.checkEngine(ctx), a.checkDisk(), a.checkAddress(ctx)}, a.checkNATS(ctx)...)
			findings = append(findings, a.checkClickHouse(ctx)...)
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
					switch {
					case !f.OK:
						mark = paint(a.Out, bad, "FAIL")
					case f.Warning:
						mark = paint(a.Out, wary, "warn")
					}
					fmt.Fprintf(a.Out, "%s  %-24s %s\n", mark, f.Name, strings.ReplaceAll(f.Detail, "\n", "\n"+strings.Repeat(" ", 32)))
					if f.Do != "" {
						fmt.Fprintf(a.Out, "%s%s %s\n", strings.Repeat(" ", 32), paint(a.Out, title, "do:"), f.Do)
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
	memory := a.cfg.Engine.Memory
	if memory == 0 {
		memory = engine.MachineMemory() / 3
	}
	f.Detail = fmt.Sprintf("ClickHouse %s, started in %s, may use %s of %s; the kernel can hold it in a fleet: %s", rows[0].Version, time.Since(begin).Round(time.Millisecond),
		humanize.IBytes(uint64(memory)), humanize.IBytes(uint64(engine.MachineMemory())), engine.ConfinementHere())
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
