package chaos

import (
	"reflect"
	"testing"
	"time"
)

func faults(seed uint64, n int, kinds []Kind) []fault {
	s := newSchedule(seed, 2*time.Second, kinds)
	var out []fault
	for range n {
		out = append(out, s.next())
	}
	return out
}

// The same seed is the same faults, another seed is others.
func TestSeedIsSchedule(t *testing.T) {
	t.Parallel()
	first := faults(7, 200, Kinds())
	if !reflect.DeepEqual(first, faults(7, 200, Kinds())) {
		t.Error("one seed gave two schedules")
	}
	if reflect.DeepEqual(first, faults(8, 200, Kinds())) {
		t.Error("two seeds gave one schedule")
	}
	begin := map[Kind]bool{}
	longer, shorter := 0, 0
	for i, f := range first {
		if i < len(Kinds()) {
			begin[f.kind] = true
		}
		if f.kind == StopWorker && f.lasts > 2*time.Second {
			longer++
		} else if f.kind == StopWorker {
			shorter++
		}
	}
	if len(begin) != len(Kinds()) {
		t.Errorf("the first %d faults are of %d kinds", len(Kinds()), len(begin))
	}
	if longer == 0 || shorter == 0 {
		t.Errorf("workers were stopped %d times for longer than the lease and %d times for less", longer, shorter)
	}
}

func TestConfigChoosesKinds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		kinds  int
		ok     bool
	}{
		"all":      {func(*Config) {}, len(Kinds()), true},
		"only":     {func(c *Config) { c.Only = []Kind{KillWorker, CutBody} }, 2, true},
		"without":  {func(c *Config) { c.Without = []Kind{KillWorker, CutBody} }, len(Kinds()) - 2, true},
		"none":     {func(c *Config) { c.Only, c.Without = []Kind{CutBody}, []Kind{CutBody} }, 0, false},
		"unknown":  {func(c *Config) { c.Only = []Kind{"earthquake"} }, 0, false},
		"no jobs":  {func(c *Config) { c.Jobs = 0 }, len(Kinds()), false},
		"no fleet": {func(c *Config) { c.Workers = 0 }, len(Kinds()), false},
	} {
		cfg := Short()
		cfg.Shards = 1 // or there is none to be cut off
		cfg.Dray, cfg.NATS, cfg.Dir = []string{"dray"}, []string{"nats"}, "/nowhere"
		c.change(&cfg)
		if err := cfg.validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(cfg.kinds()); c.ok && n != c.kinds {
			t.Errorf("%s: %d kinds, want %d", name, n, c.kinds)
		}
	}
}

// Two faults never have the same thing at once, and what one gives back the
// next gets.
func TestOneFaultATarget(t *testing.T) {
	t.Parallel()
	n := newNemesis(&fleet{cfg: Short()}, nil, t.Logf)
	if !n.take(t.Context(), []string{"a", "b"}) {
		t.Fatal("free, and not to be had")
	}
	got := make(chan struct{})
	go func() {
		n.take(t.Context(), []string{"b", "c"})
		close(got)
	}()
	if !n.take(t.Context(), []string{"d"}) {
		t.Fatal("free, and not to be had")
	}
	select {
	case <-got:
		t.Fatal("b was taken twice")
	default:
	}
	n.give([]string{"a", "b"})
	<-got
}

// The short form is too short for every kind of fault: those that matter most
// must be in it.
func TestShortFormKillsAndCuts(t *testing.T) {
	t.Parallel()
	c := Short()
	found := map[Kind]bool{}
	for s := newSchedule(c.Seed, c.Lease, c.kinds()); s.n < c.Faults; {
		f := s.next()
		found[f.kind] = true
		if f.kind == StopWorker && f.lasts < c.Lease {
			t.Errorf("a worker is stopped for %s, which is shorter than its lease", f.lasts)
		}
	}
	for _, k := range []Kind{
		KillWorker, KillCoordinator, KillNATS, KillClickHouse, StopWorker,
		CutWorkerNATS, CutWorkerClickHouse, DropAnswer, CutBody,
	} {
		if !found[k] {
			t.Errorf("the short form has no %s: choose another seed", k)
		}
	}
}
