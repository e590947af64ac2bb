package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"drayage/coordinator/api"
	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// listedChunks bounds the chunks of a page.
const listedChunks = 200

// chunksPage lists the chunks of a job that are in one state.
type chunksPage struct {
	frame
	Job, State, Word string
	Legend           []legend
	Chunks           []chunkRow
	Next             string
}

type chunkRow struct {
	Number uint64
	Last   uint64 // of a cell that stands for several; 0: one
	State  stateView
}

// chunks lists chunks by state, or leads to the one that was asked for.
func (s *Site) chunks(w http.ResponseWriter, r *http.Request) error {
	id, q := r.PathValue("job"), r.URL.Query()
	if number := q.Get("number"); number != "" {
		n, err := chunkNumber(number)
		if err == nil {
			http.Redirect(w, r, fmt.Sprintf("/jobs/%s/chunks/%d", id, n), http.StatusSeeOther)
		}
		return err
	}
	seen, err := s.watched.get(r.Context(), id)
	if err != nil {
		return err
	}
	p := chunksPage{frame: s.frame(r, "Chunks of "+id, ""), Job: id, State: q.Get("state"), Legend: legendOf(seen.chunks)}
	if p.State == "" {
		p.State = clickhouse.ChunkLoaded
		if len(p.Legend) > 0 {
			p.State = p.Legend[0].Class
		}
	}
	p.Word = chunkWords[p.State]
	if p.Word == "" {
		return &api.Problem{Status: http.StatusNotFound, Title: "there is no such state", Detail: fmt.Sprintf("No chunk is ever %q.", clip(p.State, maxNote))}
	}
	after, _ := strconv.Atoi(q.Get("from")) // 0 will do
	p.list(seen.chunks, max(after, 0))
	s.write(w, r, http.StatusOK, "chunks", p)
	return nil
}

// list finds the cells of the page's state from a place in the map on.
func (p *chunksPage) list(m api.ChunkMap, from int) {
	letter := ""
	for _, l := range m.Letters {
		if l.State == p.State {
			letter = l.Letter
		}
	}
	for i := from; letter != "" && i < len(m.Cells); i++ {
		if m.Cells[i] != letter[0] {
			continue
		}
		if len(p.Chunks) == listedChunks {
			p.Next = "/jobs/" + p.Job + "/chunks?" + url.Values{"state": {p.State}, "from": {strconv.Itoa(i)}}.Encode()
			return
		}
		row := chunkRow{Number: ordinal(m, i), State: chunkState(p.State)}
		if m.Width > 1 {
			row.Last = row.Number + m.Width - 1
		}
		p.Chunks = append(p.Chunks, row)
	}
}

// ordinal is that of the first chunk of a cell.
func ordinal(m api.ChunkMap, cell int) uint64 {
	place := uint64(cell) * m.Width //nolint:gosec // an index
	if place < m.Planned {
		return place
	}
	return job.FirstReplacement + place - m.Planned
}

// chunkPage is one chunk of a job.
type chunkPage struct {
	frame
	Job      string
	Number   uint64
	State    stateView
	Facts    []fact
	Error    string
	Attempts []attempt
}

type attempt struct {
	Number                       uint32
	Outcome, Worker, Took, Error string
	Rows                         uint64
	At                           time.Time
}

func (s *Site) chunk(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("job")
	n, err := chunkNumber(r.PathValue("chunk"))
	if err != nil {
		return err
	}
	v, err := s.service.Chunk(r.Context(), id, n)
	if errors.Is(err, queue.ErrNotFound) {
		return &api.Problem{Status: http.StatusNotFound, Title: "there is no such chunk", Detail: fmt.Sprintf("Chunk %d of job %s is not planned, or the job is not there.", n, id)}
	}
	if err != nil {
		return err
	}
	p := chunkPage{frame: s.frame(r, fmt.Sprintf("Chunk %d of %s", n, id), ""), Job: id, Number: n, State: chunkState(stateOfChunk(v))}
	add := func(name, value, link string) {
		if value != "" {
			p.Facts = append(p.Facts, fact{Name: name, Value: value, Link: link})
		}
	}
	add("Input", v.Place, "")
	for _, worker := range v.Workers {
		add("At worker", worker, "/workers")
	}
	if l := v.DeadLetter; l != nil {
		p.Error = l.Error
		add("Given up", fmt.Sprintf("%s, after %d attempts (%s)", moment(l.At), l.Attempts, l.Reason), "")
		if l.TakenOverBy != "" {
			add("Taken over by", l.TakenOverBy, "/jobs/"+l.TakenOverBy)
		} else {
			add("Dead letter", "replay or drop it", "/dead?"+url.Values{"job": {id}}.Encode())
		}
	}
	for _, a := range v.Attempts {
		row := attempt{Number: a.Attempt, Outcome: a.Outcome, Worker: a.Worker, Rows: a.RowsLoaded, At: a.StartedAt, Error: clip(firstLine(a.Error), maxRaw)}
		if took := a.TransformMS + a.LoadMS; took > 0 {
			row.Took = span(milliseconds(took))
		}
		p.Attempts = append(p.Attempts, row)
		if a.RowsRejected > 0 {
			add("Rejects", count(a.RowsRejected)+" rows", "/jobs/"+id+"/rejects?"+url.Values{"chunk": {strconv.FormatUint(n, 10)}}.Encode())
		}
	}
	s.write(w, r, http.StatusOK, "chunk", p)
	return nil
}

// stateOfChunk is the state that a chunk is left in by its attempts.
func stateOfChunk(v api.ChunkView) string {
	state := api.ChunkQueued
	for _, a := range v.Attempts {
		switch {
		case a.Outcome == clickhouse.OutcomeUndone:
			return clickhouse.ChunkUndone
		case a.Outcome == clickhouse.OutcomeRetired:
			return clickhouse.ChunkRetired
		case a.Outcome == clickhouse.OutcomeLoaded && a.RowsRejected > 0:
			state = clickhouse.ChunkRejects
		case a.Outcome == clickhouse.OutcomeLoaded:
			state = clickhouse.ChunkLoaded
		case state == api.ChunkQueued:
			state = clickhouse.ChunkRetrying
		}
	}
	switch {
	case state == clickhouse.ChunkLoaded || state == clickhouse.ChunkRejects:
	case v.DeadLetter != nil:
		state = clickhouse.ChunkDead
	case len(v.Workers) > 0:
		state = api.ChunkWorking
	}
	return state
}
