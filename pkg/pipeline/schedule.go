package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the image has no time zones of its own

	"github.com/robfig/cron/v3"

	"drayage/pkg/job"
)

// Schedule says when the pipeline is to run again and again. In the file it is
// this mapping, or the expression alone. It is a job.Timing with its keys.
type Schedule struct {
	Cron    string `yaml:"cron"`    // five fields, @daily and the like, or @every 15m
	Zone    string `yaml:"zone"`    // of the time zone database; default UTC
	Missed  string `yaml:"missed"`  // one of the Missed constants; default MissedOnce
	Overlap string `yaml:"overlap"` // one of the Overlap constants; default OverlapSkip
}

// What becomes of runs for which no coordinator was there in time.
const (
	MissedOnce = "run_once" // the last of them is made up for, in place of all
	MissedSkip = "skip"     // none is
	MissedAll  = "all"      // each is, one after another
)

// What becomes of a run that is due while the one before has not ended.
const (
	OverlapSkip = "skip" // it is left out
	OverlapWait = "wait" // it begins when the one before has ended
)

// MinEvery is the shortest pause of @every.
const MinEvery = time.Second

// UnmarshalYAML reads the mapping, or an expression alone.
func (s *Schedule) UnmarshalYAML(decode func(any) error) error {
	if text, err := scalar(decode); err == nil {
		*s = Schedule{Cron: text}
		return nil
	}
	type mapping Schedule
	return decode((*mapping)(s))
}

// setDefaults completes what the file left out.
func (s *Schedule) setDefaults() {
	if s.Zone == "" {
		s.Zone = "UTC"
	}
	if s.Missed == "" {
		s.Missed = MissedOnce
	}
	if s.Overlap == "" {
		s.Overlap = OverlapSkip
		if s.Missed == MissedAll {
			s.Overlap = OverlapWait
		}
	}
}

// checkSchedule finds what is wrong with the schedule.
func (d *Document) checkSchedule(bad func(key, problem, hint string)) {
	s := d.Pipeline.Schedule
	if s == nil {
		return
	}
	place := func(key string) string {
		if d.node("schedule."+key) == nil { // the expression alone
			return "schedule"
		}
		return "schedule." + key
	}
	if _, err := location(s.Zone); err != nil {
		bad(place("zone"), err.Error(), "write a name of the time zone database, such as Europe/Berlin")
	} else if _, err := s.Timetable(); err != nil {
		bad(place("cron"), err.Error(), `write "minute hour day month weekday" such as "*/10 * * * *", @hourly, @daily, @weekly, @monthly or "@every 15m"`)
	}
	if !slices.Contains([]string{MissedOnce, MissedSkip, MissedAll}, s.Missed) {
		bad(place("missed"), fmt.Sprintf("%q is no policy", s.Missed), "write run_once, skip or all")
	}
	switch {
	case !slices.Contains([]string{OverlapSkip, OverlapWait}, s.Overlap):
		bad(place("overlap"), fmt.Sprintf("%q is no policy", s.Overlap), "write skip or wait")
	case s.Missed == MissedAll && s.Overlap == OverlapSkip:
		bad(place("overlap"), "with missed: all no run is skipped", "write overlap: wait, or leave it out")
	}
}

// Timing is the schedule as its record carries it.
func (s Schedule) Timing() job.Timing { return job.Timing(s) }

// Timetable makes the schedule ready to be asked for times. Its errors say what
// is wrong with the expression or the zone.
func (s Schedule) Timetable() (*Timetable, error) {
	zone, err := location(s.Zone)
	if err != nil {
		return nil, err
	}
	t := &Timetable{zone: zone}
	text := strings.TrimSpace(s.Cron)
	if every, ok := strings.CutPrefix(text, "@every "); ok {
		t.every, err = time.ParseDuration(strings.TrimSpace(every))
		if err != nil || t.every < MinEvery || t.every%time.Second != 0 {
			return nil, fmt.Errorf("%q is not a schedule: @every takes a number of whole seconds, such as 15m or 90s", s.Cron)
		}
		return t, nil
	}
	if strings.Contains(text, "=") { // which the parser takes for a zone, or falls over
		return nil, fmt.Errorf("%q is not a schedule: the time zone is a key of its own, zone", s.Cron)
	}
	if t.cron, err = cron.ParseStandard(text); err != nil {
		return nil, fmt.Errorf("%q is not a schedule: %w", s.Cron, err)
	}
	fields := strings.Fields(text)
	t.flows = fields[0] == "@hourly" || len(fields) > 1 && strings.ContainsAny(fields[1][:1], "*?")
	if t.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("%q is not a schedule: no day is such", s.Cron)
	}
	return t, nil
}

// location finds a time zone by its name.
func location(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" { // which is another on each machine
		return nil, fmt.Errorf("%q is not a time zone", name)
	}
	return zone, nil
}
