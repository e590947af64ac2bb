package web

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"drayage/coordinator/api"
	"drayage/pkg/job"
)

// stateView is a state as it is shown: a shape and a colour by class, and a word.
type stateView struct{ Class, Word string }

// jobState is how the state of a job is shown.
func jobState(s job.State) stateView {
	switch s {
	case job.Submitted:
		return stateView{"queued", "Submitted"}
	case job.Planning:
		return stateView{"running", "Planning"}
	case job.Running:
		return stateView{"running", "Running"}
	case job.Verifying:
		return stateView{"running", "Verifying"}
	case job.Paused:
		return stateView{"paused", "Paused"}
	case job.Cancelling:
		return stateView{"cancelled", "Cancelling"}
	case job.Done:
		return stateView{"done", "Done"}
	case job.DoneWithRejects:
		return stateView{"rejects", "Done with rejects"}
	case job.Failed:
		return stateView{"failed", "Failed"}
	case job.Cancelled:
		return stateView{"cancelled", "Cancelled"}
	}
	return stateView{"queued", string(s)}
}

// stateChoices are the states that the list of jobs can be narrowed to, as the
// addresses of the page have them.
func stateChoices() []choice {
	var all []choice
	for _, s := range []job.State{
		job.Submitted, job.Planning, job.Running, job.Verifying, job.Paused, job.Cancelling,
		job.Done, job.DoneWithRejects, job.Failed, job.Cancelled,
	} {
		all = append(all, choice{strings.ToLower(string(s)), jobState(s).Word})
	}
	return all
}

type choice struct{ Value, Word string }

// jobRow is a job in a list.
type jobRow struct {
	ID, Pipeline  string
	Named         bool // the identifier begins with the pipeline's name
	State         stateView
	Note          string // what a person should know beside the state
	Permille      int    // of the work done; -1 while that is not known
	ProgressClass string
	ProgressText  string
	Rows          uint64
	Rejected      uint64
	Rate          string // "" of a job that does not run
	Remaining     string // likewise, and while it is not known
	Took          string
	Created       time.Time
}

// rowOf is the row of a job.
func rowOf(j api.JobRow) jobRow {
	p := j.Progress
	r := jobRow{
		ID: j.ID, Pipeline: j.Name, Named: j.Name != "" && strings.HasPrefix(j.ID, strings.ToLower(j.Name)), State: jobState(j.State),
		Permille: -1, ProgressText: progressText(j),
		Rows: j.Totals.RowsLoaded, Rejected: j.Totals.RowsRejected,
		Took: span(seconds(p.Seconds)), Created: j.CreatedAt,
	}
	switch {
	case p.Fraction != nil:
		r.Permille = int(1000 * *p.Fraction)
	case j.State.Terminal() || j.State == job.Submitted:
		r.Permille = 0
	}
	switch {
	case !j.UndoneAt.IsZero():
		r.Note = "undone: its rows were taken out again"
	case j.State == job.Failed:
		r.Note = clip(firstLine(j.Error), maxNote)
	case len(j.Waits) > 0:
		r.Note = sentence(clip(j.Waits[0].Detail, maxNote))
	}
	switch j.State {
	case job.Done:
		r.ProgressClass = "done"
	case job.DoneWithRejects:
		r.ProgressClass = "rejects"
	case job.Failed:
		r.ProgressClass = "bad"
	case job.Running, job.Verifying:
		r.Rate = rate(p.RowsPerSecond, "/s")
		r.Remaining = remaining(j)
	}
	return r
}

// remaining is how long the rest of a running job takes, "" when that can not be
// told.
func remaining(j api.JobRow) string {
	if j.State != job.Running || j.Progress.ETASeconds == nil {
		return ""
	}
	return span(max(time.Second, seconds(*j.Progress.ETASeconds).Round(time.Second)))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// maxNote bounds the text beside a state, in bytes.
const maxNote = 160

func progressText(j api.JobRow) string {
	if j.Plan.Chunks == 0 && !j.Plan.Complete {
		return ""
	}
	text := fmt.Sprintf("%s of %s chunks", count(j.Progress.Chunks), count(j.Plan.Chunks))
	if !j.Plan.Complete {
		text += " so far"
	}
	if j.Totals.Dead > 0 {
		text += fmt.Sprintf(", %s dead", count(j.Totals.Dead))
	}
	return text
}

// fact is a name and what is to be said of it.
type fact struct{ Name, Value, Note, Link string }

// jobFigures are the numbers of a job.
func jobFigures(j api.JobView) []fact {
	t, p := j.Totals, j.Progress
	input := bytesText(t.BytesRead)
	if j.Plan.Bytes > 0 {
		input += " of " + bytesText(j.Plan.Bytes)
		if !j.Plan.Complete {
			input += " or so"
		}
	}
	figures := []fact{
		{Name: "Rows loaded", Value: count(t.RowsLoaded), Note: orDash(rate(p.RowsPerSecond, "/s")) + " since the start"},
		{Name: "Rows read", Value: count(t.RowsRead)},
		{Name: "Rows rejected", Value: count(t.RowsRejected), Note: share(t.RowsRejected, t.RowsRead)},
		{Name: "Input read", Value: input, Note: orDash(perSecond(p.BytesPerSecond))},
		{Name: "Dead letters", Value: count(t.Dead)},
		{Name: "Redelivered", Value: count(t.Redelivered), Note: "chunks"},
		{Name: "Took", Value: span(seconds(p.Seconds))},
	}
	if left := remaining(j.JobRow); left != "" {
		figures = append(figures, fact{Name: "Remaining", Value: "about " + left, Note: "at the rate so far"})
	}
	if s := j.Steps; s.Transforming+s.Loading > 0 {
		figures = append(figures, fact{Name: "Worker time", Value: span(seconds(s.Transforming + s.Loading)),
			Note: span(seconds(s.Transforming)) + " transforming, " + span(seconds(s.Loading)) + " loading"})
	}
	return figures
}

// jobFacts are what else is to be known of a job.
func jobFacts(j api.JobView) []fact {
	var facts []fact
	add := func(name, value, link string) {
		if value != "" {
			facts = append(facts, fact{Name: name, Value: value, Link: link})
		}
	}
	add("Pipeline", j.Name, "")
	add("Loads into", strings.Join(j.Tables, ", "), "")
	for name, value := range sorted(j.Params) {
		add("Param "+name, value, "")
	}
	add("Created", moment(j.CreatedAt), "")
	add("Finished", moment(j.FinishedAt), "")
	add("Undone", moment(j.UndoneAt), "")
	if r := j.Replay; r != nil {
		add("Takes over", fmt.Sprintf("%s of %s chunks of job %s", job.Replayed(r.What), count(r.Chunks), r.Job), "/jobs/"+r.Job)
	}
	for _, c := range j.Claims {
		add("Taken over", fmt.Sprintf("%s of %s chunks by job %s", job.Replayed(c.What), count(c.Chunks), c.Job), "/jobs/"+c.Job)
	}
	add("Too big", some(j.Replaced[job.ReplacedTooBig], "chunks, cut into smaller ones"), "")
	add("Repaired", some(j.Replaced[job.ReplacedRepair], "chunks whose rows in ClickHouse were not those recorded"), "")
	return facts
}

func some(n int, what string) string {
	if n == 0 {
		return ""
	}
	return count(n) + " " + what
}

// proofFacts are what ClickHouse answered when it was asked for a job's rows;
// none before it was.
func proofFacts(p *job.Proof) []fact {
	if p == nil {
		return nil
	}
	kind := "rows were counted by chunk in the table"
	if p.Kind != "provenance" {
		kind = "the table has no provenance columns: only the ledger vouches for the rows"
	}
	facts := []fact{
		{Name: "Kind", Value: p.Kind + ": " + kind},
		{Name: "Rows found", Value: count(p.Rows)},
		{Name: "Rejects found", Value: count(p.Rejected)},
		{Name: "Asked", Value: moment(p.At)},
	}
	for _, t := range p.Tables {
		facts = append(facts, fact{Name: t.Table, Value: fmt.Sprintf("%s rows (%s)", count(t.Rows), t.Kind)})
	}
	for _, d := range p.Differ {
		facts = append(facts, fact{Name: fmt.Sprintf("Chunk %d differs", d.Chunk), Value: fmt.Sprintf("%s rows recorded, %s found; %s rejects recorded, %s found",
			count(d.Recorded), count(d.Found), count(d.RejectedRecorded), count(d.RejectedFound))})
	}
	return facts
}

// sorted goes through a map in the order of its keys.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

func share(part, whole uint64) string {
	if part == 0 || whole == 0 {
		return ""
	}
	return humanize.FtoaWithDigits(100*float64(part)/float64(whole), 2) + " % of those read"
}

func bytesText(n int64) string { return humanize.IBytes(uint64(max(n, 0))) } //nolint:gosec // not negative

func perSecond(bytes float64) string {
	if bytes <= 0 {
		return ""
	}
	return bytesText(int64(bytes)) + "/s"
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC") + " (" + humanize.Time(t) + ")"
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// clip cuts a text to at most so many bytes, between two characters.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + " …"
}
