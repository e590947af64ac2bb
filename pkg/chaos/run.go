package chaos

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"drayage/pkg/clickhouse"
)

// Run starts a fleet, breaks it while jobs run, heals it, waits for the end of
// everything and checks the invariants. An error means that the suite itself
// could not go on; what is wrong with Drayage is in the report. Everything
// that was started has ended when it returns; the folder with data and logs
// stays.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	begin := time.Now()
	if entries, err := os.ReadDir(cfg.Dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("the folder %s is not empty", cfg.Dir)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	logged, err := os.Create(filepath.Join(cfg.Dir, "chaos.log"))
	if err != nil {
		return nil, err
	}
	defer logged.Close()
	var mu sync.Mutex
	log := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		line := fmt.Sprintf("%s %7.1fs  %s\n", time.Now().UTC().Format("15:04:05.000"), time.Since(begin).Seconds(), strings.TrimSpace(fmt.Sprintf(format, args...)))
		fmt.Fprint(logged, line)
		fmt.Fprint(cfg.Log, line)
	}

	f, err := newFleet(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer f.close()
	for _, sql := range append([]string{createDatabase}, setup()...) {
		if err := f.sql.Exec(ctx, sql); err != nil {
			return nil, fmt.Errorf("preparing ClickHouse: %w", err)
		}
	}
	for _, s := range f.shards {
		if err := s.sql.Exec(ctx, createDatabase); err != nil {
			return nil, fmt.Errorf("preparing %s: %w", s.name, err)
		}
	}
	out, err := f.dray(ctx, "cancel", "--help")
	cancellable := err == nil && strings.Contains(out, "dray cancel")
	log("the fleet is up: 3 NATS servers, ClickHouse, %d shards, %d coordinators, %d workers", cfg.Shards, cfg.Coordinators, cfg.Workers)

	watching, stop := context.WithCancel(ctx)
	w := newWatch(f, log)
	defer w.work.Wait()
	defer stop()
	if err := w.follow(watching); err != nil {
		return nil, fmt.Errorf("watching the jobs: %w", err)
	}
	n := newNemesis(f, w.running, log)
	stood, err := drive(ctx, f, w, n, cancellable)
	if err != nil {
		return nil, err
	}
	log("checking")
	r := &Report{
		Seed: cfg.Seed, Dir: cfg.Dir, Stood: stood, Jobs: map[string]int{},
		Faults: n.counts(), Changed: int(n.changed.Load()), Crashes: map[string]int{}, Spoiled: map[string]int{},
	}
	c := &check{f: f, report: r}
	c.queue(ctx)
	w.readAll(ctx)
	stop()
	w.work.Wait()
	if err := c.jobs(ctx, w.all()); err != nil {
		return nil, err
	}
	if err := c.evidence(ctx, w); err != nil {
		return nil, err
	}
	c.verify(ctx, w.all())
	if err := c.logs(); err != nil {
		return nil, err
	}
	r.Took = time.Since(begin)
	return r, nil
}

// drive feeds jobs while the nemesis is at work and until there were enough,
// heals everything, and waits for the jobs' end or for the time that they
// have. It returns how long that took after healing.
func drive(ctx context.Context, f *fleet, w *watch, n *nemesis, cancellable bool) (time.Duration, error) {
	calm := make(chan struct{})
	var healed time.Time
	feeding, enough := context.WithCancel(ctx)
	defer enough()
	var work sync.WaitGroup
	work.Go(func() {
		defer close(calm)
		for !w.begun() && feeding.Err() == nil && len(w.all()) <= f.cfg.Jobs {
			wait(feeding, 50*time.Millisecond)
		}
		n.run(feeding)
		f.heal()
		healed = time.Now()
		n.log("everything is healed")
		// From here on everything has to end, with or without more jobs.
		time.AfterFunc(f.cfg.Settle, enough)
	})
	defer work.Wait()
	for submitted := 0; feeding.Err() == nil; {
		over := false
		select {
		case <-calm:
			over = true
		default:
		}
		if over && submitted >= f.cfg.Jobs {
			break
		}
		if len(w.live()) >= f.cfg.Live {
			wait(feeding, 100*time.Millisecond)
			continue
		}
		if err := w.submit(feeding, newSpec(f.cfg, submitted, cancellable)); err != nil {
			if feeding.Err() != nil {
				break
			}
			return 0, fmt.Errorf("submitting a job: %w", err)
		}
		submitted++
	}
	<-calm
	for feeding.Err() == nil && len(w.live()) > 0 {
		wait(feeding, 100*time.Millisecond)
	}
	return time.Since(healed), context.Cause(ctx)
}

// queue checks that nothing is left in the queue of chunks. Consumers and
// messages of a job that has just ended have a moment to go.
func (c *check) queue(ctx context.Context) {
	err := eventually(ctx, time.Minute, "the queue is empty", func(ctx context.Context) error {
		messages, consumers, err := leftInWork(ctx, c.f.httpPorts())
		if err == nil && (messages > 0 || len(consumers) > 0) {
			err = fmt.Errorf("%d chunks and the consumers %q are left in DRAY_WORK", messages, consumers)
		}
		return err
	})
	if err != nil {
		c.report.complain(NoneRemain, "%v", err)
	}
}

// logs looks for what no process of ours may ever print.
func (c *check) logs() error {
	files, err := filepath.Glob(filepath.Join(c.f.logs(), "*.log"))
	if err != nil {
		return err
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("reading the logs: %w", err)
		}
		for lines := bufio.NewReader(f); err == nil; {
			var line string
			line, err = lines.ReadString('\n')
			for _, sign := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"} {
				if strings.HasPrefix(line, sign) {
					c.report.complain(NoPanic, "%s: %s", filepath.Base(path), strings.TrimSpace(line))
				}
			}
		}
		f.Close()
	}
	return nil
}

// evidence collects what shows that the faults did something.
func (c *check) evidence(ctx context.Context, w *watch) error {
	r := c.report
	r.Inserts, r.Repeated = c.f.tokens.repeated()
	r.Duplicate = w.duplicates
	for _, p := range c.f.processes() {
		if n := p.unasked(); n > 0 {
			r.Crashes[p.name] = n
		}
	}
	for _, m := range c.f.members {
		for t, n := range m.gate.counts() {
			r.Spoiled[[...]string{"honest", "answer dropped", "body cut", "refused"}[t]] += n
		}
	}
	out := &buffer{}
	if err := c.f.sql.Query(ctx, "SELECT count() FROM "+clickhouse.LedgerTable.SQL()+" FINAL WHERE attempt > 1", "TabSeparated", out); err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	if _, err := fmt.Sscan(string(*out), &r.Attempts); err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	return nil
}
