package web

import (
	"net/http"
	"net/url"
	"strconv"

	"drayage/coordinator/api"
	"drayage/pkg/clickhouse"
)

// listedRejects bounds the rows of a page.
const listedRejects = 50

// rejectsPage lists rows of a job in quarantine, as they stand in the input.
type rejectsPage struct {
	frame
	Job            string
	Filter         rejectsFilter
	Rows           []clickhouse.RejectRow
	Previous, Next string
	CanRetry       bool
}

type rejectsFilter struct{ Column, Reason, Chunk string }

// Narrow reports whether some rows are left out.
func (f rejectsFilter) Narrow() bool { return f != rejectsFilter{} }

func (f rejectsFilter) address(job string, offset uint64) string {
	q := url.Values{}
	for name, value := range map[string]string{"column": f.Column, "reason": f.Reason, "chunk": f.Chunk} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if offset > 0 {
		q.Set("offset", strconv.FormatUint(offset, 10))
	}
	path := "/jobs/" + job + "/rejects"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return path
}

func (s *Site) rejects(w http.ResponseWriter, r *http.Request) error {
	id, q := r.PathValue("job"), r.URL.Query()
	f := rejectsFilter{q.Get("column"), q.Get("reason"), q.Get("chunk")}
	offset, _ := strconv.ParseUint(q.Get("offset"), 10, 64) // 0 will do
	query := api.RejectQuery{Job: id, Column: f.Column, Reason: f.Reason, Limit: listedRejects, Offset: offset}
	if f.Chunk != "" {
		n, err := chunkNumber(f.Chunk)
		if err != nil {
			return err
		}
		query.Chunk = &n
	}
	seen, err := s.watched.get(r.Context(), id)
	if err != nil {
		return err
	}
	page, err := s.service.Rejects(r.Context(), query)
	if err != nil {
		return err
	}
	p := rejectsPage{frame: s.frame(r, "Rejects of "+id, ""), Job: id, Filter: f, Rows: page.Rejects}
	p.CanRetry = seen.job.State.Terminal() && seen.job.UndoneAt.IsZero() && seen.job.Totals.RowsRejected > 0
	if page.Next != nil {
		p.Next = f.address(id, *page.Next)
	}
	if offset > 0 {
		p.Previous = f.address(id, offset-min(offset, listedRejects))
	}
	s.write(w, r, http.StatusOK, "rejects", p)
	return nil
}
