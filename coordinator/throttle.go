package coordinator

import "time"

// throttle lowers a job's bound on chunks in flight while ClickHouse asks to
// slow down, and raises it again when it has stopped to: half at a time down,
// half as much again up, as TCP does.
type throttle struct {
	full int // as configured
	now  int // in force

	trouble time.Time // last time somebody was asked to slow down
	moved   time.Time // last time now changed
}

const (
	throttleDown = time.Second     // pause between two steps down
	throttleUp   = 2 * time.Second // without trouble, before a step up, and between two
	// A report of trouble that is older is history: events are read from
	// their beginning when a coordinator takes over.
	throttleFresh = 10 * time.Second
)

// slow notes that an attempt was asked to slow down at the given time.
func (t *throttle) slow(at, now time.Time) {
	if now.Sub(at) < throttleFresh && at.After(t.trouble) {
		t.trouble = at
	}
}

// step decides on the bound when busy chunks are in flight. It reports whether
// the bound has changed.
func (t *throttle) step(now time.Time, busy int) bool {
	before := t.now
	switch {
	case t.trouble.After(t.moved) && now.Sub(t.moved) >= throttleDown:
		t.now = max(1, min(t.now, max(busy, 1))/2)
		t.moved = now
	case t.now < t.full && now.Sub(t.trouble) >= throttleUp && now.Sub(t.moved) >= throttleUp:
		t.now = min(t.full, t.now+max(1, t.now/2))
		t.moved = now
	}
	return t.now != before
}
