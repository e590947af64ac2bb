// Package fault stops a process between two steps. The places are compiled in
// and do nothing; a test that starts the process with DRAY_FAULT has it die,
// stop or fail exactly there.
package fault

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Point is a place between two steps.
type Point string

// The places, in the order in which a healthy job passes them.
const (
	Snapshot  Point = "coordinator.snapshot"  // a lookup's table is made, its rows are not in it
	Frozen    Point = "coordinator.frozen"    // the job's queue is open, RUNNING is not recorded yet
	Planned   Point = "coordinator.planned"   // a chunk was published, the plan was not moved
	Ledger    Point = "coordinator.ledger"    // the ledger was written, the totals were not
	Verify    Point = "coordinator.verify"    // about to ask ClickHouse; skip: take its agreement for granted
	Verified  Point = "coordinator.verified"  // ClickHouse has answered, the job's end is not recorded
	Publish   Point = "coordinator.publish"   // the rows are verified and about to be put in their place
	Published Point = "coordinator.published" // they are, the job's end is not recorded
	Moving    Point = "coordinator.moving"    // the watermark is about to move
	Moved     Point = "coordinator.moved"     // it has, the job's end is not recorded
	Retired   Point = "coordinator.retired"   // chunks are recorded as replaced, their rows are still there
	Deleted   Point = "coordinator.deleted"   // their rows are gone, the replacements are not published
	Closing   Point = "coordinator.closing"   // a cancelled job's queue is closed, CANCELLED is not recorded
	Ended     Point = "coordinator.ended"     // a job's end is recorded, and is not in drayage.job_states

	Pulled      Point = "worker.pulled"      // a chunk was taken
	Transformed Point = "worker.transformed" // its block is made
	Rejected    Point = "worker.rejected"    // its rejects are in quarantine, its rows are not loaded
	Output      Point = "worker.output"      // the rows of one of several outputs are in ClickHouse
	Loaded      Point = "worker.loaded"      // its rows are in ClickHouse, the result is not recorded
	Recorded    Point = "worker.recorded"    // the result is recorded, the chunk is not acknowledged
	Settled     Point = "worker.settled"     // it is acknowledged

	// Not places but guarantees, which skip takes away: a chaos suite whose
	// checks work finds the duplicates.
	Lead  Point = "coordinator.lead" // skip: every coordinator believes that it leads
	Token Point = "worker.token"     // skip: every insert has a token of its own
	Found Point = "worker.found"     // skip: a redelivered chunk is loaded without a look at the table
)

func points() []Point {
	return []Point{
		Snapshot, Frozen, Planned, Ledger, Verify, Verified, Publish, Published, Moving, Moved, Retired, Deleted, Closing, Ended,
		Pulled, Transformed, Rejected, Output, Loaded, Recorded, Settled, Lead, Token, Found,
	}
}

// ErrInjected is what a place returns under the action fail.
var ErrInjected = errors.New("injected fault")

// Set is the faults of a process. A nil Set has none. It is safe for
// concurrent use.
type Set struct {
	mu     sync.Mutex
	faults map[Point]*injected
}

type injected struct {
	action string
	after  int // passes to let through first
	pause  time.Duration
}

// Env is the variable that FromEnv reads.
const Env = "DRAY_FAULT"

// FromEnv reads DRAY_FAULT: faults separated by semicolons, each written as
// place=action or place=action@n for the n-th pass (default the first).
// Actions are kill (SIGKILL to this process), stop (SIGSTOP, until somebody
// continues it), fail (the place returns ErrInjected), a duration (the place
// waits), and skip (from now on, see the places that know it). All but skip
// happen once. Empty: no faults, and a nil Set.
func FromEnv() (*Set, error) { return Parse(os.Getenv(Env)) }

// Parse is FromEnv for a text.
func Parse(text string) (*Set, error) {
	if text == "" {
		return nil, nil
	}
	s := &Set{faults: map[Point]*injected{}}
	for part := range strings.SplitSeq(text, ";") {
		place, action, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || !known(Point(place)) {
			return nil, fmt.Errorf("%s: %q is not place=action with one of the places %v", Env, part, points())
		}
		f := &injected{after: 1}
		f.action, text, ok = strings.Cut(action, "@")
		if ok {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("%s: %q: %q is not a number of passes", Env, part, text)
			}
			f.after = n
		}
		switch f.action {
		case "kill", "stop", "fail", "skip":
		default:
			d, err := time.ParseDuration(f.action)
			if err != nil {
				return nil, fmt.Errorf("%s: %q: the action is kill, stop, fail, skip or a duration", Env, part)
			}
			f.action, f.pause = "pause", d
		}
		s.faults[Point(place)] = f
	}
	return s, nil
}

func known(p Point) bool {
	for _, k := range points() {
		if k == p {
			return true
		}
	}
	return false
}

// At passes the place: it returns nil at once, or does what the test asked for.
func (s *Set) At(p Point) error {
	switch f := s.due(p); {
	case f == nil:
		return nil
	case f.action == "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it is on its way
	case f.action == "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		time.Sleep(50 * time.Millisecond) // other threads run on until it has arrived
		return nil
	case f.action == "pause":
		time.Sleep(f.pause)
		return nil
	default:
		return fmt.Errorf("%s: %w", p, ErrInjected)
	}
}

func (s *Set) due(p Point) *injected {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.faults[p]
	if f == nil || f.action == "skip" {
		return nil
	}
	if f.after--; f.after != 0 {
		return nil
	}
	return f
}

// Skips reports whether the guarantee was taken away.
func (s *Set) Skips(p Point) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.faults[p]
	return f != nil && f.action == "skip"
}
