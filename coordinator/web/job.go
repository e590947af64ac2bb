package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"drayage/coordinator/api"
	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// jobPage is one job.
type jobPage struct {
	frame
	Job        jobRow
	Actions    []action
	Waiting    []string
	Stale      string // why ClickHouse's part may be old; "" when it is not
	Error      string // why it failed
	Figures    []fact
	Facts      []fact
	Legend     []legend
	Cells      string // a cellsUpdate; "" while no chunk is planned
	CellChunks uint64
	Throughput string // a throughputUpdate
	Points     []point
	Slowest    []slowChunk
	Errors     []errorGroup
	Rejects    []rejectGroup
	Proof      []fact
	SQL        []statement
	Text, File string
}

// FirstReplacement is the ordinal of the first chunk that replaces another.
func (jobPage) FirstReplacement() uint64 { return job.FirstReplacement }

type statement struct{ Table, Text string }

// legend is a state of chunks, and how many are in it.
type legend struct {
	Class, Word string
	Count       uint64
}

type slowChunk struct {
	Chunk                 uint64
	Took, Transform, Load string
	Rows                  uint64
	Worker                string
}

type errorGroup struct {
	Kind, Text       string
	Attempts, Chunks uint64
	Chunk            uint64
	At               time.Time
}

type rejectGroup struct {
	Column, Reason, Raw, Link string
	Rows                      uint64
}

// maxRaw bounds the raw text of an example, in bytes.
const maxRaw = 400

// jobPageOf makes the page of what was seen, but for its frame.
func jobPageOf(seen jobSeen) jobPage {
	j := seen.job
	p := jobPage{
		Job: rowOf(j.JobRow), Actions: actionsOf(j), Figures: jobFigures(j), Facts: jobFacts(j),
		Legend: legendOf(seen.chunks), CellChunks: seen.chunks.Width, Points: pointsOf(seen.throughput),
		Proof: proofFacts(j.Proof), Text: j.Text, File: j.File,
	}
	if j.State == job.Failed {
		p.Error = j.Error
	}
	for _, w := range j.Waits {
		p.Waiting = append(p.Waiting, sentence(w.Detail)+".")
	}
	if seen.missing != nil {
		p.Stale = problemOf(seen.missing).Detail
	}
	if seen.chunks.Cells != "" {
		p.Cells = encode(cellsOf(seen.chunks).whole())
	}
	p.Throughput = encode(throughputOf(seen.throughput))
	for _, c := range seen.slowest {
		p.Slowest = append(p.Slowest, slowChunk{
			Chunk: c.Chunk, Took: span(milliseconds(c.TransformMS + c.LoadMS)), Transform: span(milliseconds(c.TransformMS)), Load: span(milliseconds(c.LoadMS)),
			Rows: c.RowsLoaded, Worker: c.Worker,
		})
	}
	for _, g := range seen.errors {
		kind := g.Outcome
		if g.Code != 0 {
			kind += fmt.Sprintf(", code %d", g.Code)
		}
		p.Errors = append(p.Errors, errorGroup{Kind: kind, Text: clip(g.Error, maxRaw), Attempts: g.Attempts, Chunks: g.Chunks, Chunk: g.Chunk, At: g.LastAt})
	}
	for _, g := range seen.rejects {
		p.Rejects = append(p.Rejects, rejectGroup{Column: g.Column, Reason: g.Reason, Raw: clip(g.First.Raw, maxRaw), Rows: g.Rows,
			Link: "/jobs/" + j.ID + "/rejects?" + url.Values{"column": {g.Column}}.Encode()})
	}
	for _, o := range j.Outputs {
		p.SQL = append(p.SQL, statement{o.Table, o.SQL})
	}
	return p
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// encode writes a value as JSON for a script.
func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "null" // of such values there are none
	}
	return string(text)
}

// chunkWords are the states of chunks for people, by the names that api gives
// them.
//
//nolint:gochecknoglobals // a constant
var chunkWords = map[string]string{
	clickhouse.ChunkDead: "Dead", clickhouse.ChunkRetrying: "Waiting to retry", api.ChunkWorking: "At work", api.ChunkQueued: "Queued",
	api.ChunkLeft: "Left undone", clickhouse.ChunkRejects: "Loaded with rejects", clickhouse.ChunkLoaded: "Loaded",
	clickhouse.ChunkRetired: "Replaced", clickhouse.ChunkUndone: "Taken out again",
}

// chunkState is how the state of a chunk is shown.
func chunkState(state string) stateView { return stateView{state, chunkWords[state]} }

// legendOf are the states that chunks of a map are in.
func legendOf(m api.ChunkMap) []legend {
	var all []legend
	for _, l := range m.Letters {
		if l.Chunks > 0 {
			all = append(all, legend{l.State, chunkWords[l.State], l.Chunks})
		}
	}
	return all
}

func (s *Site) job(w http.ResponseWriter, r *http.Request) error {
	seen, err := s.watched.get(r.Context(), r.PathValue("job"))
	if err != nil {
		return err
	}
	p := jobPageOf(seen)
	p.frame = s.frame(r, p.Job.ID, "/jobs/"+p.Job.ID+"/live")
	s.write(w, r, http.StatusOK, "job", p)
	return nil
}

// jobParts are the parts of the page of a job that change, by their ids.
func jobParts() []string {
	return []string{"job-head", "job-trouble", "job-figures", "map-legend", "job-throughput", "job-slowest", "job-errors", "job-rejects", "job-proof"}
}

const (
	// quiet is how many looks in a row must find a job that has ended unchanged
	// for its page to be complete.
	quiet = 3
	// settled is how long ago it must have ended: what is known of its last
	// chunks comes a moment later, and somebody may retry what it left.
	settled = time.Minute
)

// jobLive sends what changes of a job.
func (s *Site) jobLive(w http.ResponseWriter, r *http.Request) error {
	var (
		drawn   *cells
		charted throughputUpdate
		still   int
	)
	id := r.PathValue("job")
	if _, err := s.watched.get(r.Context(), id); err != nil {
		return err
	}
	return s.stream(w, r, func(out *stream) (bool, error) {
		seen, err := s.watched.get(r.Context(), id)
		if err != nil {
			return false, err
		}
		p := jobPageOf(seen)
		p.Who = whoOf(r)
		for _, part := range jobParts() {
			html, err := s.templates.part("job", part, p)
			if err != nil {
				return false, err
			}
			out.part("#"+part, html, false)
		}
		if out.buffer.Len() > 0 {
			still = 0
		} else {
			still++
		}
		out.flush()
		now := cellsOf(seen.chunks)
		if drawn == nil {
			out.event("cells", now.whole())
		} else if u, differ := now.since(*drawn); differ {
			out.event("cells", u)
		}
		drawn = &now
		chart := throughputOf(seen.throughput)
		if u, differ := chart.since(charted); differ {
			out.event("throughput", u)
		}
		charted = chart
		return seen.job.State.Terminal() && time.Since(seen.job.FinishedAt) > settled && seen.missing == nil && still >= quiet, nil
	})
}

// chunkNumber reads the ordinal of a chunk.
func chunkNumber(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, &api.Problem{Status: http.StatusNotFound, Title: "there is no such chunk", Detail: fmt.Sprintf("%q is not the number of a chunk.", clip(text, maxNote))}
	}
	return n, nil
}
