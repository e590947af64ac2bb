package coordinator

import (
	"testing"
	"time"
)

func TestThrottle(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	th := throttle{full: 256, now: 256}
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	steps := []struct {
		ms      int
		trouble bool
		busy    int
		want    int
	}{
		{0, false, 20, 256},
		{100, true, 20, 10}, // half of what is in flight, not of what may be
		{200, true, 10, 10}, // not twice in a second
		{1300, true, 10, 5},
		{2400, true, 5, 2},
		{3500, true, 2, 1},
		{4600, true, 1, 1}, // never nothing
		{5000, false, 1, 1},
		{7000, false, 1, 2}, // up again when it has been quiet
		{8000, false, 2, 2},
		{9100, false, 2, 3},
		{11200, false, 3, 4},
		{13300, false, 4, 6},
	}
	for _, s := range steps {
		if s.trouble {
			th.slow(at(s.ms), at(s.ms))
		}
		th.step(at(s.ms), s.busy)
		if th.now != s.want {
			t.Errorf("after %d ms the bound is %d, want %d", s.ms, th.now, s.want)
		}
	}
	for ms := 15_000; ms < 100_000; ms += 500 {
		th.step(at(ms), 256)
	}
	if th.now != 256 {
		t.Errorf("in the end the bound is %d, want 256", th.now)
	}
	th.slow(at(1000), at(100_000))
	if th.step(at(100_000), 256) {
		t.Error("an old report moved the bound")
	}
}
