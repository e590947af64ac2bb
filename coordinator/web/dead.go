package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"drayage/coordinator"
	"drayage/coordinator/api"
)

// listedLetters bounds the dead letters of a page.
const listedLetters = 100

// deadPage lists dead letters.
type deadPage struct {
	frame
	Filter  deadFilter
	Jobs    []string // that have dead letters
	Reasons []string
	Letters []letterRow
	Counted string
	Next    string
}

type deadFilter struct{ Job, Reason, Error string }

// Narrow reports whether some letters are left out.
func (f deadFilter) Narrow() bool { return f != deadFilter{} }

func (f deadFilter) address(extra url.Values) string {
	q := url.Values{}
	for name, value := range map[string]string{"job": f.Job, "reason": f.Reason, "error": f.Error} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, values := range extra {
		q[name] = values
	}
	if len(q) == 0 {
		return "/dead"
	}
	return "/dead?" + q.Encode()
}

func (f deadFilter) choice() coordinator.Choice {
	return coordinator.Choice{Reason: f.Reason, Error: f.Error}
}

type letterRow struct {
	Job                  string
	Chunk                uint64
	Reason, Error, Place string
	Attempts             int
	At                   time.Time
}

func (s *Site) dead(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := deadFilter{q.Get("job"), q.Get("reason"), q.Get("error")}
	page, err := s.service.DeadLetters(r.Context(), api.LetterQuery{Job: f.Job, Choice: f.choice(), Limit: listedLetters, Cursor: q.Get("cursor")})
	if err != nil {
		return err
	}
	p := deadPage{frame: s.frame(r, "Dead letters", ""), Filter: f, Reasons: coordinator.Reasons()}
	for _, l := range page.Letters {
		p.Letters = append(p.Letters, letterRow{
			Job: l.Chunk.Job, Chunk: l.Chunk.Ordinal, Reason: l.Reason, Error: clip(firstLine(l.Error), maxRaw),
			Place: clip(l.Place, maxRaw), Attempts: l.Attempts, At: l.At,
		})
		if !slices.Contains(p.Jobs, l.Chunk.Job) {
			p.Jobs = append(p.Jobs, l.Chunk.Job)
		}
	}
	if f.Job != "" && !slices.Contains(p.Jobs, f.Job) {
		p.Jobs = append(p.Jobs, f.Job)
	}
	p.Counted = fmt.Sprintf("%s shown", count(len(p.Letters)))
	if page.Next != "" {
		p.Counted += ", and there are more"
		p.Next = f.address(url.Values{"cursor": {page.Next}})
	}
	s.write(w, r, http.StatusOK, "dead", p)
	return nil
}
