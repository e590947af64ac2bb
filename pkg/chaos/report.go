package chaos

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Invariant is a promise that is checked.
type Invariant string

// The invariants, in the order in which they are checked.
const (
	Ends       Invariant = "everything ends, and well"
	Rows       Invariant = "every source row is in the target exactly once, or in quarantine, or in a dead letter"
	Views      Invariant = "materialized views agree with their source"
	Outputs    Invariant = "the outputs of a job agree with each other"
	OneResult  Invariant = "one effective result a chunk, and the record adds them up"
	NotEarly   Invariant = "never DONE before the rows are there"
	NoneLater  Invariant = "after CANCELLED no row lands"
	InFlight   Invariant = "in-flight never above its bound"
	NoneRemain Invariant = "nothing is stranded in the queue"
	NoPanic    Invariant = "no process panics"
)

// Invariants are all of them.
func Invariants() []Invariant {
	return []Invariant{Ends, Rows, Views, Outputs, OneResult, NotEarly, NoneLater, InFlight, NoneRemain, NoPanic}
}

// Report is what a run found.
type Report struct {
	Seed  uint64
	Dir   string
	Took  time.Duration
	Stood time.Duration // of it, after healing

	Jobs      map[string]int // by state
	Faults    map[Kind]int
	Changed   int            // members that became another version
	Crashes   map[string]int // processes that ended although no fault ended them
	Spoiled   map[string]int // inserts, by what was done to them
	Chunks    uint64
	Replaced  uint64
	Redeliver uint64 // chunks whose result came with a later delivery
	Attempts  uint64 // rows of the ledger with an attempt above the first
	Recovered uint64 // chunks found in ClickHouse and not loaded again
	Inserts   int    // acknowledged by ClickHouse
	Repeated  int    // of them, under a token that had been acknowledged before
	Duplicate uint64 // blocks that ClickHouse says it deduplicated
	Repairs   int
	// Unrepaired are jobs that FAILED, and said why, because the chunks that
	// ClickHouse lost or doubled when it was killed had fed a view.
	Unrepaired []string
	Dead       int
	InFlight   string // most seen, against the bound

	Expected uint64 // rows that must be somewhere
	Found    uint64 // rows in the targets
	Rejected uint64 // in quarantine
	Lost     uint64 // to dead letters
	Twice    uint64 // rows that are there more than once
	Missing  uint64 // rows that are nowhere

	Broken map[Invariant][]string // what was found against each
}

// OK says whether every invariant holds.
func (r *Report) OK() bool { return len(r.Broken) == 0 }

// complain writes down a violation.
func (r *Report) complain(i Invariant, format string, args ...any) {
	if r.Broken == nil {
		r.Broken = map[Invariant][]string{}
	}
	r.Broken[i] = append(r.Broken[i], fmt.Sprintf(format, args...))
}

// maxComplaints bounds what is printed of each invariant.
const maxComplaints = 10

// Print writes the report for a person.
func (r *Report) Print(w io.Writer) {
	total := 0
	for _, n := range r.Faults {
		total += n
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-22s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("seed", "%d", r.Seed)
	line("took", "%s, of it %s after healing", r.Took.Round(time.Second), r.Stood.Round(time.Second))
	line("jobs", "%s", counts(r.Jobs))
	line("faults injected", "%d: %s", total, countsLine(r.Faults))
	if r.Changed > 0 {
		line("changes of version", "%d", r.Changed)
	}
	line("inserts spoiled", "%s", counts(r.Spoiled))
	line("ended by themselves", "%s", counts(r.Crashes))
	line("chunks", "%d, %d replaced, %d dead letters", r.Chunks, r.Replaced, r.Dead)
	line("redeliveries", "%d chunks by a later delivery, %d later attempts in the ledger", r.Redeliver, r.Attempts)
	line("deduplicated inserts", "%d of %d acknowledged inserts were repetitions; ClickHouse counted %d blocks; %d chunks were found before they were loaded again", r.Repeated, r.Inserts, r.Duplicate, r.Recovered)
	line("repairs", "%d", r.Repairs)
	for _, text := range r.Unrepaired {
		line("not to be repaired", "%s", text)
	}
	line("in flight", "%s", r.InFlight)
	line("rows expected", "%d", r.Expected)
	line("rows found", "%d in the targets, %d in quarantine, %d in dead letters; %d twice, %d nowhere", r.Found, r.Rejected, r.Lost, r.Twice, r.Missing)
	for _, i := range Invariants() {
		broken := r.Broken[i]
		if len(broken) == 0 {
			fmt.Fprintf(w, "  holds   %s\n", i)
			continue
		}
		fmt.Fprintf(w, "  BROKEN  %s\n", i)
		for n, text := range broken {
			if n == maxComplaints {
				fmt.Fprintf(w, "            and %d more\n", len(broken)-n)
				break
			}
			fmt.Fprintf(w, "            %s\n", strings.ReplaceAll(text, "\n", "\n            "))
		}
	}
}

func counts(m map[string]int) string {
	if len(m) == 0 {
		return "none"
	}
	var parts []string
	for _, name := range sortedKeys(m) {
		parts = append(parts, fmt.Sprintf("%s %d", name, m[name]))
	}
	return strings.Join(parts, ", ")
}
