package pipeline

import (
	"time"

	"github.com/robfig/cron/v3"
)

// Timetable knows the times of a schedule.
//
// Where clocks change, a schedule at fixed hours runs once a day all the same: a
// time that the change leaves out is made up for at the moment of the change,
// and of a time that comes twice the first counts. A schedule of every hour, or
// every so many (its hour begins with *), and @every go by the time that really
// passes.
type Timetable struct {
	zone  *time.Location
	every time.Duration // of @every, else 0
	cron  cron.Schedule
	flows bool // goes by the time that passes
}

// Zone is the time zone of the schedule.
func (t *Timetable) Zone() *time.Location { return t.zone }

// Next is the first time after the one given, in UTC, or zero when there is none
// within five years. Of @every it is one pause later.
func (t *Timetable) Next(after time.Time) time.Time {
	if t.every > 0 {
		return after.UTC().Truncate(time.Second).Add(t.every)
	}
	// The parser's own arithmetic loses times where an offset changes by less
	// than an hour; so it sees one offset at a time.
	here := after.In(t.zone) // what tells the offset
	for {
		_, change := here.ZoneBounds()
		next := t.cron.Next(after.In(time.FixedZone("", int(offset(here).Seconds()))))
		switch {
		case next.IsZero():
			return next
		case change.IsZero() || next.Before(change):
			if next = next.In(t.zone); t.flows || !second(next) {
				return next.UTC()
			}
			after = next
			continue
		case !t.flows && next.Before(change.Add(offset(change)-offset(here))): // it is left out
			return change.UTC()
		}
		here, after = change, change.Add(-time.Second)
	}
}

// Due are the times from the first on, which is one of them, up to now: the
// newest of them, at most so many, the oldest first, and how many there are in
// all. A year of "* * * * *" takes it some tenths of a second.
func (t *Timetable) Due(first, now time.Time, most int) (newest []time.Time, all uint64) {
	if t.every > 0 && !first.After(now) {
		if far := now.Sub(first)/t.every - time.Duration(most); far > 0 {
			all, first = uint64(far), first.Add(far*t.every)
		}
	}
	for at := first; !at.IsZero() && !at.After(now); at = t.Next(at) {
		if len(newest) == most {
			newest = newest[1:]
		}
		newest = append(newest, at)
		all++
	}
	return newest, all
}

// second reports whether the clock shows this time for the second time.
func second(at time.Time) bool {
	change, _ := at.ZoneBounds()
	if change.IsZero() {
		return false
	}
	back := offset(change.Add(-time.Second)) - offset(at)
	return back > 0 && at.Sub(change) < back
}

// offset is how far the clock of the time's zone is ahead of UTC.
func offset(at time.Time) time.Duration {
	_, seconds := at.Zone()
	return time.Duration(seconds) * time.Second
}
