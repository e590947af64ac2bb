package cli

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"drayage/coordinator/api"
	"drayage/pkg/job"
)

// draw draws the screen: the list of jobs, the chosen one, workers, errors, keys.
// It has at most as many lines as the terminal, whatever there is to show.
func (s *screen) draw() string {
	foot := s.foot()
	if !s.seen {
		return "looking …\n" + foot
	}
	var parts [][]string
	i := s.place()
	if i >= 0 {
		parts = append(parts, s.job(s.scene.jobs[i]))
	}
	parts = append(parts, s.workers(), s.errors())
	below := 1 + strings.Count(foot, "\n") + 1
	for _, p := range parts {
		if len(p) > 0 {
			below += len(p) + 1
		}
	}
	lines := append([]string{s.head()}, s.list(i, max(s.height-below-2, 3))...)
	for _, p := range parts {
		if len(p) > 0 {
			lines = append(append(lines, ""), p...)
		}
	}
	lines = lines[:min(len(lines), max(s.height-2-strings.Count(foot, "\n"), 1))]
	for len(lines) < s.height-1-strings.Count(foot, "\n") {
		lines = append(lines, "")
	}
	fit := lipgloss.NewStyle().MaxWidth(max(s.width, 20))
	for i, line := range lines {
		lines[i] = fit.Render(line)
	}
	return strings.Join(lines, "\n") + "\n" + foot
}

func (s *screen) head() string {
	live := 0
	for _, r := range s.scene.jobs {
		if !r.State.Terminal() {
			live++
		}
	}
	w := s.scene.workers
	return title.Render("dray watch") + fmt.Sprintf("  %s, %s, %d of %d slots busy", english.Plural(live, "live job", ""), english.Plural(len(w.Workers), "worker", ""), w.Busy, w.Slots) +
		faint.Render("  "+s.scene.at.Format(time.TimeOnly))
}

// list draws at most rows rows of the jobs, those around the chosen one.
func (s *screen) list(chosen, rows int) []string {
	jobs := s.scene.jobs
	if len(jobs) == 0 {
		return []string{"", faint.Render("no job is live; dray submit FILE gives the fleet one")}
	}
	from := min(max(chosen-rows/2, 0), max(len(jobs)-rows, 0))
	var t table
	t.head("  JOB", "STATE", "PROGRESS", "", "ROWS", "ROWS/S", "ETA")
	for i, r := range jobs[from:min(from+rows, len(jobs))] {
		mark, name := "  ", r.ID
		if from+i == chosen {
			mark, name = alive.Render("▸ "), title.Render(r.ID)
		}
		t.add(mark+name, stateStyle(r.State).Render(string(r.State)), meter(r.Progress.Fraction, 16), percent(r.Progress.Fraction),
			humanize.Comma(int64(r.Totals.RowsLoaded)), humanize.SIWithDigits(r.Progress.RowsPerSecond, 1, ""), etaOf(r.Progress))
	}
	lines := strings.Split(strings.TrimSuffix(t.String(), "\n"), "\n")
	if len(jobs) > rows {
		lines = append(lines, faint.Render(fmt.Sprintf("  %d of %d jobs", rows, len(jobs))))
	}
	return lines
}

// job draws the chosen job.
func (s *screen) job(r api.JobRow) []string {
	var t table
	row := func(name, format string, args ...any) { t.add("  "+faint.Render(name), fmt.Sprintf(format, args...)) }
	head := title.Render(r.ID)
	if len(r.Tables) > 0 {
		head += faint.Render("  into " + strings.Join(r.Tables, ", "))
	}
	c := r.Totals
	rejected := humanize.Comma(int64(c.RowsRejected)) + " rejected"
	if c.RowsRejected > 0 {
		rejected = wary.Render(rejected)
	}
	row("rows", "%s loaded, %s, %s read", humanize.Comma(int64(c.RowsLoaded)), rejected, humanize.Comma(int64(c.RowsRead)))
	of := ""
	if r.Plan.Bytes > 0 {
		of = " of " + humanize.IBytes(uint64(r.Plan.Bytes))
	}
	if c.BytesRead > 0 || of != "" {
		row("input", "%s%s, %s/s", humanize.IBytes(uint64(c.BytesRead)), of, humanize.IBytes(uint64(r.Progress.BytesPerSecond)))
	}
	row("time", "%s, the rest about %s", time.Duration(r.Progress.Seconds)*time.Second, etaOf(r.Progress))
	chunks := []string{good.Render(fmt.Sprintf("%d loaded", c.Chunks))}
	if s.scene.opened && s.scene.chosen == r.ID {
		chunks = append(chunks, alive.Render(fmt.Sprintf("%d at work or to be tried again", s.scene.inFlight)), fmt.Sprintf("%d queued", s.scene.queued))
	}
	if c.Redelivered > 0 {
		chunks = append(chunks, wary.Render(fmt.Sprintf("%d redelivered", c.Redelivered)))
	}
	if c.Retired > 0 {
		chunks = append(chunks, fmt.Sprintf("%d replaced", c.Retired))
	}
	if c.Dead > 0 {
		chunks = append(chunks, bad.Render(fmt.Sprintf("%d dead", c.Dead)))
	}
	row("chunks", "%s; %s planned", strings.Join(chunks, ", "), strings.TrimPrefix(chunksOfRow(r), fmt.Sprintf("%d/", r.Progress.Chunks)))
	for _, w := range r.Waits {
		row("waits", "%s", wary.Render(w.Detail))
	}
	if r.Error != "" {
		row("error", "%s", bad.Render(oneLine(r.Error, shownError)))
	}
	return append([]string{head}, strings.Split(strings.TrimSuffix(t.String(), "\n"), "\n")...)
}

// shownWorkers bounds the workers on the screen.
const shownWorkers = 8

func (s *screen) workers() []string {
	list := s.scene.workers.Workers
	if len(list) == 0 {
		return []string{wary.Render("no worker lives; dray worker starts one")}
	}
	var t table
	t.head("WORKER", "SLOTS", "", "AT")
	for _, w := range list[:min(len(list), shownWorkers)] {
		t.add(w.ID, fmt.Sprintf("%d/%d", w.Busy, w.Slots), meter(&w.Load, 8), currentOf(w))
	}
	lines := strings.Split(strings.TrimSuffix(t.String(), "\n"), "\n")
	if more := len(list) - shownWorkers; more > 0 {
		lines = append(lines, faint.Render(fmt.Sprintf("and %d more: dray workers", more)))
	}
	return lines
}

// currentOf says what a worker is at: its chunks by job.
func currentOf(w api.WorkerView) string {
	var names []string
	chunks := map[string][]string{}
	for _, c := range w.Chunks {
		if chunks[c.Job] == nil {
			names = append(names, c.Job)
		}
		chunks[c.Job] = append(chunks[c.Job], fmt.Sprint(c.Chunk))
	}
	for i, name := range names {
		names[i] = name + " " + strings.Join(chunks[name], ",")
	}
	if len(names) == 0 {
		return "-"
	}
	return strings.Join(names, "; ")
}

func (s *screen) errors() []string {
	if len(s.scene.errors) == 0 || s.scene.chosen != s.chosen {
		return nil
	}
	lines := []string{faint.Render("FAILED ATTEMPTS, THE NEWEST FIRST")}
	for _, t := range s.scene.errors {
		lines = append(lines, attemptLine(t))
	}
	return lines
}

func attemptLine(t job.Attempt) string {
	return fmt.Sprintf("%s chunk %d, attempt %d: %s: %s", t.At.Local().Format(time.TimeOnly), t.Chunk, t.Attempt,
		wary.Render(t.Verdict), oneLine(firstLine(t.Error), shownError))
}

// foot draws the question, what became of the last key, and the keys.
func (s *screen) foot() string {
	keys := faint.Render("↑↓ job  p pause  r resume  c cancel  q leave")
	switch {
	case s.asked != "":
		return bad.Render(fmt.Sprintf("Cancel %s for good? Rows that are loaded stay. y/N ", s.asked))
	case s.trouble != "":
		return bad.Render(oneLine(firstLine(s.trouble), max(s.width, 20)-1)) + "\n" + keys
	case s.note != "":
		return oneLine(firstLine(s.note), max(s.width, 20)-1) + "\n" + keys
	}
	return keys
}
