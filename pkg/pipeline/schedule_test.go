package pipeline

import (
	"strings"
	"testing"
	"time"
)

const scheduled = "pipeline: nightly\nsource: {files: {path: a.csv}}\nload: {table: t}\n"

func TestSchedule(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want Schedule
	}{
		"expression": {`schedule: "*/10 * * * *"`, Schedule{"*/10 * * * *", "UTC", MissedOnce, OverlapSkip}},
		"every":      {"schedule: '@every 90s'", Schedule{"@every 90s", "UTC", MissedOnce, OverlapSkip}},
		"mapping": {
			"schedule:\n  cron: 30 2 * * mon-fri\n  zone: Europe/Berlin\n  missed: skip\n  overlap: wait",
			Schedule{"30 2 * * mon-fri", "Europe/Berlin", MissedSkip, OverlapWait},
		},
		"all waits":   {`schedule: {cron: "@daily", missed: all}`, Schedule{"@daily", "UTC", MissedAll, OverlapWait}},
		"a parameter": {"params: {hour: 7}\nschedule: 0 ${hour} * * *", Schedule{"0 7 * * *", "UTC", MissedOnce, OverlapSkip}},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Parse(scheduled+tt.text+"\n", "p.yaml", "/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			if *d.Pipeline.Schedule != tt.want {
				t.Errorf("got %+v", *d.Pipeline.Schedule)
			}
		})
	}
	if d, err := Parse(scheduled, "p.yaml", "/x", nil); err != nil || d.Pipeline.Schedule != nil {
		t.Errorf("without the key: %v", err)
	}
}

func TestScheduleMistakes(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"fields":         {`schedule: "* * * *"`, "p.yaml:4:11: schedule: \"* * * *\" is not a schedule: expected exactly 5 fields"},
		"seconds":        {`schedule: "0 * * * * *"`, "expected exactly 5 fields, found 6"},
		"range":          {"schedule:\n  zone: UTC\n  cron: 61 * * * *", "p.yaml:6:9: schedule.cron: \"61 * * * *\" is not a schedule: end of range (61)"},
		"step":           {`schedule: "*/0 * * * *"`, "step"},
		"empty":          {`schedule: ""`, "p.yaml:4:11: schedule: \"\" is not a schedule"},
		"no value":       {"schedule:\n  zone: UTC", "schedule: \"\" is not a schedule"},
		"no such day":    {`schedule: "0 0 30 2 *"`, "no day is such"},
		"zone within":    {`schedule: "TZ=UTC"`, "the time zone is a key of its own"},
		"never":          {`schedule: "@reboot"`, "unrecognized descriptor"},
		"every nothing":  {`schedule: "@every 0s"`, "whole seconds"},
		"every fraction": {`schedule: "@every 1500ms"`, "whole seconds"},
		"every past":     {`schedule: "@every -1h"`, "whole seconds"},
		"every text":     {`schedule: "@every day"`, "whole seconds"},
		"zone":           {"schedule: {cron: '@daily', zone: Europe/Bärlin}", "p.yaml:4:34: schedule.zone: \"Europe/Bärlin\" is not a time zone"},
		"zone Local":     {"schedule: {cron: '@daily', zone: Local}", "schedule.zone: \"Local\" is not a time zone"},
		"zone path":      {"schedule: {cron: '@daily', zone: ../x}", "is not a time zone"},
		"missed":         {"schedule: {cron: '@daily', missed: once}", "p.yaml:4:36: schedule.missed: \"once\" is no policy"},
		"overlap":        {"schedule: {cron: '@daily', overlap: kill}", "schedule.overlap: \"kill\" is no policy"},
		"all and skip":   {"schedule: {cron: '@daily', missed: all, overlap: skip}", "schedule.overlap: with missed: all no run is skipped"},
		"unknown key":    {"schedule: {cron: '@daily', timezone: UTC}", "p.yaml:4:28: unknown key timezone"},
		"list":           {"schedule: ['@daily']", "p.yaml:4:"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(scheduled+tt.text+"\n", "p.yaml", "/x", nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func timetable(t *testing.T, cron, zone string) *Timetable {
	t.Helper()
	tt, err := Schedule{Cron: cron, Zone: zone}.Timetable()
	if err != nil {
		t.Fatal(err)
	}
	return tt
}

// The clocks of Berlin go from 2:00 to 3:00 on 29 March 2026 at 1:00 UTC, and
// from 3:00 to 2:00 on 25 October at 1:00 UTC.
func TestTimesWhereClocksChange(t *testing.T) {
	for name, tt := range map[string]struct{ cron, zone, after, want string }{
		"summer and winter":          {"0 9 * * *", "Europe/Berlin", "2026-03-28T00:00Z", "03-28T08:00 03-29T07:00 03-30T07:00"},
		"left out":                   {"30 2 * * *", "Europe/Berlin", "2026-03-28T00:00Z", "03-28T01:30 03-29T01:00 03-30T00:30"},
		"left out several times":     {"*/20 2 * * *", "Europe/Berlin", "2026-03-28T01:30Z", "03-28T01:40 03-29T01:00 03-30T00:00"},
		"left out and on the change": {"30 2-3 * * *", "Europe/Berlin", "2026-03-29T00:00Z", "03-29T01:00 03-29T01:30 03-30T00:30"},
		"the change itself":          {"0 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00Z", "03-29T01:00 03-30T00:00 03-30T01:00"},
		"twice":                      {"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", "10-25T00:30 10-26T01:30 10-27T01:30"},
		"twice, asked in the second": {"30 2 * * *", "Europe/Berlin", "2026-10-25T01:10Z", "10-26T01:30 10-27T01:30 10-28T01:30"},
		"hours, in spring":           {"0 * * * *", "Europe/Berlin", "2026-03-29T00:00Z", "03-29T01:00 03-29T02:00 03-29T03:00"},
		"hours, in autumn":           {"0 * * * *", "Europe/Berlin", "2026-10-24T23:30Z", "10-25T00:00 10-25T01:00 10-25T02:00"},
		"hourly, in autumn":          {"@hourly", "Europe/Berlin", "2026-10-24T23:30Z", "10-25T00:00 10-25T01:00 10-25T02:00"},
		"hours, by half an hour":     {"0 */2 * * *", "Australia/Lord_Howe", "2026-04-04T12:00Z", "04-04T13:00 04-04T15:30 04-04T17:30"},
		"every":                      {"@every 1h", "Europe/Berlin", "2026-10-24T23:30Z", "10-25T00:30 10-25T01:30 10-25T02:30"},
		"no midnight":                {"@daily", "Africa/Cairo", "2026-04-23T12:00Z", "04-23T22:00 04-24T21:00 04-25T21:00"},
		"another day in UTC":         {"0 1 1 * *", "Asia/Tokyo", "2026-01-01T00:00Z", "01-31T16:00 02-28T16:00 03-31T16:00"},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := time.Parse("2006-01-02T15:04Z07:00", tt.after)
			if err != nil {
				t.Fatal(err)
			}
			table, got := timetable(t, tt.cron, tt.zone), []string{}
			for range 3 {
				at = table.Next(at)
				got = append(got, at.Format("01-02T15:04"))
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// Whatever clocks do anywhere, a schedule of one time a day runs once a day.
func TestOnceADay(t *testing.T) {
	for _, zone := range []string{
		"UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Havana", "America/Santiago", "America/Sao_Paulo",
		"Africa/Cairo", "Africa/Casablanca", "Asia/Beirut", "Asia/Kolkata", "Asia/Tehran", "Australia/Lord_Howe", "Pacific/Auckland", "Pacific/Chatham",
	} {
		for _, cron := range []string{"0 0 * * *", "30 0 * * *", "15 1 * * *", "30 2 * * *", "45 3 * * *", "59 23 * * *"} {
			table := timetable(t, cron, zone)
			at := time.Date(2016, 1, 1, 0, 0, 0, 0, table.Zone()).Add(-time.Second)
			for day := time.Date(2016, 1, 1, 12, 0, 0, 0, time.UTC); day.Year() < 2020; day = day.AddDate(0, 0, 1) {
				at = table.Next(at)
				if got, want := at.In(table.Zone()).Format(time.DateOnly), day.Format(time.DateOnly); got != want {
					t.Fatalf("%s %s: got %s, want %s", zone, cron, at.In(table.Zone()), want)
				}
			}
		}
	}
}

func TestDue(t *testing.T) {
	first := time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		cron string
		late time.Duration
		all  uint64
		want []time.Duration // the newest two
	}{
		"not yet":              {"*/10 * * * *", -time.Second, 0, nil},
		"one":                  {"*/10 * * * *", 0, 1, []time.Duration{0}},
		"one, a moment ago":    {"*/10 * * * *", 9 * time.Minute, 1, []time.Duration{0}},
		"two":                  {"*/10 * * * *", 10 * time.Minute, 2, []time.Duration{0, 10 * time.Minute}},
		"many":                 {"*/10 * * * *", 24 * time.Hour, 145, []time.Duration{24*time.Hour - 10*time.Minute, 24 * time.Hour}},
		"every: not yet":       {"@every 7s", -time.Second, 0, nil},
		"every: one":           {"@every 7s", 6 * time.Second, 1, []time.Duration{0}},
		"every: two":           {"@every 7s", 7 * time.Second, 2, []time.Duration{0, 7 * time.Second}},
		"every: three":         {"@every 7s", 15 * time.Second, 3, []time.Duration{7 * time.Second, 14 * time.Second}},
		"every: after decades": {"@every 1s", 20 * 365 * 24 * time.Hour, 20*365*24*3600 + 1, []time.Duration{20*365*24*time.Hour - time.Second, 20 * 365 * 24 * time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			newest, all := timetable(t, tt.cron, "UTC").Due(first, first.Add(tt.late), 2)
			if all != tt.all || len(newest) != len(tt.want) {
				t.Fatalf("%d are due, the newest %s", all, newest)
			}
			for i, want := range tt.want {
				if got := newest[i].Sub(first); got != want {
					t.Errorf("time %d is %s after the first, want %s", i, got, want)
				}
			}
		})
	}
}
