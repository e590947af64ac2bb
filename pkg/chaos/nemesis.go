package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// fault is one thing that is broken for a while. All of it follows from the
// seed.
type fault struct {
	n      int
	kind   Kind
	pick   int           // chooses the target
	gap    time.Duration // since the one before
	lasts  time.Duration
	cut    cut
	whole  bool // a stop takes the process's children too
	amount int  // of inserts to spoil
}

// schedule yields the faults of a seed, without end.
type schedule struct {
	r     *rand.Rand
	lease time.Duration
	kinds []Kind
	first []Kind // each kind once, before chance decides
	n     int
}

func newSchedule(seed uint64, lease time.Duration, kinds []Kind) *schedule {
	s := &schedule{r: rand.New(rand.NewPCG(seed, 0)), lease: lease, kinds: kinds} //nolint:gosec // repeatable on purpose
	s.first = append(s.first, kinds...)
	s.r.Shuffle(len(s.first), func(i, j int) { s.first[i], s.first[j] = s.first[j], s.first[i] })
	return s
}

func (s *schedule) next() fault {
	s.n++
	// Every fault takes the same numbers from the generator, whatever its
	// kind, so that a change of one kind moves no other.
	f := fault{
		n: s.n, kind: s.choose(), pick: s.r.IntN(1 << 20),
		gap: 100*time.Millisecond + s.upTo(700*time.Millisecond),
		cut: cut(s.r.IntN(int(cuts))), whole: s.r.IntN(2) == 0, amount: 1 + s.r.IntN(6),
	}
	long, share := s.r.IntN(2) == 0, s.r.Float64()
	between := func(a, b time.Duration) time.Duration { return a + time.Duration(share*float64(b-a)) }
	f.lasts = between(s.lease/10, s.lease/2)
	if long {
		f.lasts = between(s.lease*13/10, s.lease*3)
	}
	switch f.kind {
	case KillWorker, KillCoordinator, KillNATS, KillClickHouse, KillEngine, DrainWorker, RestartAll:
		f.lasts = between(0, s.lease) // how long it stays away
	}
	return f
}

func (s *schedule) upTo(d time.Duration) time.Duration {
	return time.Duration(s.r.Float64() * float64(d))
}

func (s *schedule) choose() Kind {
	w, total := weights(), 0
	for _, k := range s.kinds {
		total += w[k]
	}
	x := s.r.IntN(total)
	if len(s.first) > 0 {
		k := s.first[0]
		s.first = s.first[1:]
		return k
	}
	for _, k := range s.kinds {
		if x -= w[k]; x < 0 {
			return k
		}
	}
	return s.kinds[0]
}

// atOnce bounds the faults that there are at one time.
const atOnce = 3

// nemesis breaks things, each for its time, until as many faults were injected
// as were asked for.
type nemesis struct {
	f    *fleet
	log  func(format string, args ...any)
	want int
	s    *schedule
	jobs func() []string // those that run

	changed atomic.Int64 // members that became another version

	mu       sync.Mutex
	busy     map[string]bool // what a fault is at work on
	freed    chan struct{}   // closed and made anew when something becomes free
	injected map[Kind]int
	total    int // injected
	pending  int // begun and not over
}

func newNemesis(f *fleet, jobs func() []string, log func(string, ...any)) *nemesis {
	return &nemesis{
		f: f, log: log, jobs: jobs, want: f.cfg.Faults, s: newSchedule(f.cfg.Seed, f.cfg.Lease, f.cfg.kinds()),
		busy: map[string]bool{}, freed: make(chan struct{}), injected: map[Kind]int{},
	}
}

// run returns when the last fault was healed, or ctx has ended and all were.
func (n *nemesis) run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	slots := make(chan struct{}, atOnce)
	for n.wanted(ctx) {
		f := n.s.next()
		wait(ctx, f.gap)
		slots <- struct{}{}
		i := n.injection(f)
		if !n.take(ctx, i.needs) {
			return
		}
		work.Go(func() {
			defer func() { <-slots }()
			defer n.give(i.needs)
			n.inject(ctx, f, i)
		})
	}
}

// wanted says whether one more fault is to be begun. While those at work would
// be enough it waits for them: one may turn out to have had nothing to break.
func (n *nemesis) wanted(ctx context.Context) bool {
	for {
		n.mu.Lock()
		enough, more, freed := n.total >= n.want, n.total+n.pending < n.want, n.freed
		if !enough && more && ctx.Err() == nil {
			n.pending++
		}
		n.mu.Unlock()
		if enough || ctx.Err() != nil {
			return false
		}
		if more {
			return true
		}
		select {
		case <-freed:
		case <-ctx.Done():
		}
	}
}

func (n *nemesis) inject(ctx context.Context, f fault, i injection) {
	begin := time.Now()
	n.log("fault %d: %s %s%s for %s", f.n, f.kind, i.target, i.how, f.lasts.Round(time.Millisecond))
	done := i.run(ctx)
	verb := "healed"
	n.mu.Lock()
	n.pending--
	if done {
		n.injected[f.kind]++
		n.total++
	} else {
		verb = "found nothing to break"
	}
	n.mu.Unlock()
	n.log("fault %d: %s %s after %s", f.n, f.kind, verb, time.Since(begin).Round(time.Millisecond))
}

// counts are the injected faults by kind.
func (n *nemesis) counts() map[Kind]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.injected)
}

// take waits until nothing of what is needed is at work, and takes it.
func (n *nemesis) take(ctx context.Context, needs []string) bool {
	for {
		n.mu.Lock()
		free, freed := true, n.freed
		for _, what := range needs {
			free = free && !n.busy[what]
		}
		if free {
			for _, what := range needs {
				n.busy[what] = true
			}
		}
		n.mu.Unlock()
		if free {
			return true
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return false
		}
	}
}

func (n *nemesis) give(needs []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, what := range needs {
		delete(n.busy, what)
	}
	close(n.freed)
	n.freed = make(chan struct{})
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// countsLine is a line of the counts of faults.
func countsLine(counts map[Kind]int) string {
	var parts []string
	for _, k := range Kinds() {
		if counts[k] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", k, counts[k]))
		}
	}
	return strings.Join(parts, ", ")
}
