// Command chaos runs the chaos suite against a dray binary: `make chaos`. See
// package chaos.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"drayage/pkg/chaos"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == chaos.NodeArgument {
		fmt.Fprintln(os.Stderr, chaos.Node(os.Args[2:]))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	ok, err := run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context) (ok bool, err error) {
	cfg := chaos.Long()
	var dray, older, only, without string
	var keep bool
	flag.StringVar(&dray, "dray", "bin/dray", "the binary to run")
	flag.StringVar(&older, "older", "", "a binary of another version: members are it at first, and change between the two")
	flag.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "decides the faults and the rows")
	flag.IntVar(&cfg.Jobs, "jobs", cfg.Jobs, "jobs, at least")
	flag.IntVar(&cfg.Faults, "faults", cfg.Faults, "faults")
	flag.IntVar(&cfg.Live, "live", cfg.Live, "jobs at once")
	flag.IntVar(&cfg.Workers, "workers", cfg.Workers, "workers")
	flag.IntVar(&cfg.Coordinators, "coordinators", cfg.Coordinators, "coordinators")
	flag.IntVar(&cfg.Shards, "shards", cfg.Shards, "servers of the sharded targets, which every fifth job has")
	flag.IntVar(&cfg.Slots, "slots", cfg.Slots, "slots of a worker")
	flag.IntVar(&cfg.Chunks, "chunks", cfg.Chunks, "chunks of a job, about")
	flag.IntVar(&cfg.RowsPerChunk, "rows", cfg.RowsPerChunk, "rows of a chunk, about")
	flag.Float64Var(&cfg.Bad, "bad", cfg.Bad, "share of rows that do not fit their columns")
	flag.Float64Var(&cfg.Cancel, "cancel", cfg.Cancel, "share of jobs that are cancelled")
	flag.DurationVar(&cfg.Lease, "lease", cfg.Lease, "DRAY_LEASE of the fleet")
	flag.DurationVar(&cfg.Settle, "settle", cfg.Settle, "time that everything has to end after healing")
	flag.StringVar(&only, "only", "", "kinds of fault, with commas; default: all")
	flag.StringVar(&without, "without", "", "kinds of fault to leave out")
	flag.StringVar(&cfg.Dir, "dir", "", "folder for data and logs; default: a temporary one")
	flag.BoolVar(&cfg.Break, "break", false, "take the guarantees away: the checks must find duplicates")
	flag.BoolVar(&cfg.AllLead, "all-lead", false, "let every coordinator believe that it leads")
	flag.BoolVar(&keep, "keep", false, "keep the folder even when all is well")
	flag.Parse()
	if flag.NArg() > 0 {
		return false, fmt.Errorf("no argument is expected, such as %q", flag.Arg(0))
	}
	if cfg.Only, err = kinds(only); err != nil {
		return false, err
	}
	if cfg.Without, err = kinds(without); err != nil {
		return false, err
	}
	if dray, err = filepath.Abs(dray); err != nil {
		return false, err
	}
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	cfg.Dray, cfg.NATS, cfg.Log = []string{dray}, []string{self, chaos.NodeArgument}, os.Stderr
	if older != "" {
		if older, err = filepath.Abs(older); err != nil {
			return false, err
		}
		cfg.Older = []string{older}
	}
	if cfg.Dir == "" {
		if cfg.Dir, err = os.MkdirTemp("", "dray-chaos-"); err != nil {
			return false, err
		}
	} else if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return false, err
	}
	report, err := chaos.Run(ctx, cfg)
	if err != nil {
		return false, fmt.Errorf("%w (see %s)", err, cfg.Dir)
	}
	report.Print(os.Stdout)
	if report.OK() && !keep {
		return true, os.RemoveAll(cfg.Dir)
	}
	fmt.Printf("data and logs are in %s\n", cfg.Dir)
	if !report.OK() {
		fmt.Printf("again: go run ./scripts/chaos %s\n", again())
	}
	return report.OK(), nil
}

// again are the arguments that repeat this run.
func again() string {
	var args []string
	flag.VisitAll(func(f *flag.Flag) {
		if f.Name == "seed" || f.Value.String() != f.DefValue && f.Name != "dir" && f.Name != "keep" {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	return strings.Join(args, " ")
}

func kinds(list string) ([]chaos.Kind, error) {
	var out []chaos.Kind
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, chaos.Kind(name))
		}
	}
	if list != "" && len(out) == 0 {
		return nil, errors.New("a list of kinds of fault is empty")
	}
	return out, nil
}
