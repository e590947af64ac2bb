package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"drayage/pkg/job"
)

// Bounds of a page of jobs.
const (
	defaultJobs = 50
	maxJobs     = 500
)

// JobFilter says which jobs are meant. Its zero value means the newest.
type JobFilter struct {
	States   []job.State // any of these; none: all
	Pipeline string      // exactly
	Text     string      // a part of its name, pipeline, file, tables or error, in any case
	Live     bool        // only those that have not ended
	Limit    int         // 1 to 500; 0: 50
	Cursor   string      // JobPage.Next of the page before; empty: the first page
}

// JobPage is a part of the list of jobs, the newest first.
type JobPage struct {
	Jobs []JobRow `json:"jobs"`
	// Next is the cursor of the page after; empty on the last. Jobs that come
	// meanwhile are on an earlier page, so none is told twice.
	Next string `json:"next,omitempty"`
	// Counts are the jobs by state of all that the filter lets through but for
	// its states, on this page or not.
	Counts map[job.State]int `json:"counts"`
	// Revision is what events after this page are after.
	Revision uint64 `json:"revision"`
}

// Jobs lists jobs, as their records were a moment ago.
func (s *Service) Jobs(ctx context.Context, f JobFilter) (JobPage, error) {
	page := JobPage{Jobs: []JobRow{}, Counts: map[job.State]int{}}
	for _, state := range f.States {
		if !state.Known() {
			return page, badInput("state", "there is no state %s", state)
		}
	}
	if f.Limit < 0 || f.Limit > maxJobs {
		return page, badInput("limit", "it is 1 to %d", maxJobs)
	}
	if f.Limit == 0 {
		f.Limit = defaultJobs
	}
	after, err := readCursor(f.Cursor)
	if err != nil {
		return page, err
	}
	if err := s.board.wait(ctx); err != nil {
		return page, err
	}
	text := strings.ToLower(f.Text)
	all := s.board.list(func(e *entry) bool {
		if e.Name != f.Pipeline && f.Pipeline != "" || !strings.Contains(e.text, text) || f.Live && e.State.Terminal() {
			return false
		}
		page.Counts[e.State]++
		page.Revision = max(page.Revision, e.revision)
		return len(f.States) == 0 || slices.Contains(f.States, e.State)
	})
	page.Revision = s.board.at()
	now := time.Now()
	for i := range all {
		e := &all[i]
		if !after.before(e.JobRow) {
			continue
		}
		if len(page.Jobs) == f.Limit {
			last := page.Jobs[len(page.Jobs)-1]
			page.Next = cursor{last.CreatedAt, last.ID}.String()
			break
		}
		row := e.now(now)
		if row.Waits, err = s.waits(ctx, row, e.needs); err != nil {
			return page, err
		}
		page.Jobs = append(page.Jobs, row)
	}
	return page, nil
}

// cursor is a place in the list of jobs: that of the last one told.
type cursor struct {
	at time.Time
	id string
}

func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(c.at.UTC().Format(time.RFC3339Nano) + " " + c.id))
}

// before reports whether a job comes after the cursor's place in the list.
func (c cursor) before(r JobRow) bool {
	return c.id == "" || cmp.Or(c.at.Compare(r.CreatedAt), strings.Compare(c.id, r.ID)) > 0
}

func readCursor(text string) (c cursor, err error) {
	if text == "" {
		return c, nil
	}
	plain, err := base64.RawURLEncoding.DecodeString(text)
	at, id, found := strings.Cut(string(plain), " ")
	if err == nil && found && job.ValidID(id) {
		c.id = id
		c.at, err = time.Parse(time.RFC3339Nano, at)
	}
	if err != nil || c.id == "" {
		return cursor{}, badInput("cursor", "it is none that a page gave as next; leave it out for the first page")
	}
	return c, nil
}

// state is that of a job; empty when there is none.
func (b *board) state(id string) job.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rows[id].State
}

// at is the revision of the last change.
func (b *board) at() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.revision
}

// badInput is the error for a value of a request.
func badInput(name, format string, args ...any) error {
	return &Problem{Status: 400, Title: "the request has a value that can not be", Detail: name + ": " + fmt.Sprintf(format, args...), Hint: "see /api/v1/openapi.json for what it may be"}
}
