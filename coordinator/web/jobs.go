package web

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"drayage/coordinator/api"
	"drayage/pkg/job"
)

// listedJobs bounds the jobs of a page.
const listedJobs = 100

// jobsPage is the list of jobs.
type jobsPage struct {
	frame
	Filter jobsFilter
	States []choice
	Jobs   []jobRow
	Next   string // address of the older ones; "" when there are none
}

// jobsFilter says which jobs are shown.
type jobsFilter struct{ State, Find, Cursor string }

// Narrow reports whether some jobs are left out.
func (f jobsFilter) Narrow() bool { return f.State != "" || f.Find != "" }

func (f jobsFilter) query(cursor string) string {
	q := url.Values{}
	for name, value := range map[string]string{"state": f.State, "find": f.Find, "cursor": cursor} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

func (s *Site) readJobs(r *http.Request) (jobsPage, error) {
	q := r.URL.Query()
	p := jobsPage{States: stateChoices(), Filter: jobsFilter{q.Get("state"), strings.TrimSpace(q.Get("find")), q.Get("cursor")}}
	f := api.JobFilter{Text: p.Filter.Find, Limit: listedJobs, Cursor: p.Filter.Cursor}
	if p.Filter.State != "" {
		f.States = []job.State{job.State(strings.ToUpper(p.Filter.State))}
	}
	list, err := s.service.Jobs(r.Context(), f)
	if err != nil {
		return p, err
	}
	for _, j := range list.Jobs {
		p.Jobs = append(p.Jobs, rowOf(j))
	}
	if list.Next != "" {
		p.Next = "/" + p.Filter.query(list.Next)
	}
	return p, nil
}

func (s *Site) jobs(w http.ResponseWriter, r *http.Request) error {
	p, err := s.readJobs(r)
	if err != nil {
		return err
	}
	live := "/live" + p.Filter.query(p.Filter.Cursor)
	p.frame = s.frame(r, "Jobs", live)
	s.write(w, r, http.StatusOK, "jobs", p)
	return nil
}

// jobsLive sends the rows that change and, when other jobs are to be shown, the
// whole list.
func (s *Site) jobsLive(w http.ResponseWriter, r *http.Request) error {
	shown := ""
	return s.stream(w, r, func(out *stream) (bool, error) {
		p, err := s.readJobs(r)
		if err != nil {
			return false, err
		}
		p.Who = whoOf(r)
		var ids []string
		rows := map[string][]byte{}
		for _, j := range p.Jobs {
			html, err := s.templates.part("jobs", "job-row", j)
			if err != nil {
				return false, err
			}
			ids = append(ids, j.ID)
			rows[j.ID] = html
		}
		if list := strings.Join(ids, " "); list != shown || shown == "" {
			if list != shown {
				out.forget("#jobs") // its rows may have been sent since
			}
			shown = list
			html, err := s.templates.part("jobs", "jobs", p)
			if err != nil {
				return false, err
			}
			out.part("#jobs", html, false)
			for id, html := range rows {
				out.known("#job-"+id, html)
			}
			return false, nil
		}
		for _, id := range ids {
			out.part("#job-"+id, rows[id], true)
		}
		return false, nil
	})
}

// stream runs a live page: tick sends what has changed, until it says that no
// more will or the visitor leaves.
func (s *Site) stream(w http.ResponseWriter, r *http.Request, tick func(*stream) (complete bool, err error)) error {
	end, ok := s.begin()
	if !ok {
		return &api.Problem{Status: http.StatusServiceUnavailable, Title: "too many pages are live", Detail: "This one can be read, and reloaded."}
	}
	defer end()
	out := openStream(w)
	every := time.NewTicker(liveEvery)
	defer every.Stop()
	for {
		complete, err := tick(out)
		switch {
		case err != nil && r.Context().Err() != nil:
			return nil
		case err != nil:
			// The page stays as it is; what is in the way may go.
			s.log.Debug().Err(err).Str("path", r.URL.Path).Msg("a live page could not be brought up to date")
			out.buffer.Reset()
		}
		out.flush()
		if complete && out.err == nil {
			out.message("complete", []byte("{}"))
		}
		if complete || out.err != nil {
			return nil
		}
		select {
		case <-every.C:
		case <-r.Context().Done():
			return nil
		}
	}
}
