package api

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// LetterQuery says which dead letters are meant.
type LetterQuery struct {
	Job string // empty: of all jobs
	coordinator.Choice
	Limit  int    // 1 to 1000; 0: 20
	Cursor string // LetterPage.Next of the page before; empty: the first page
}

// LetterPage is a part of the dead letters: of the newest job first, and of each
// job the oldest.
type LetterPage struct {
	Letters []coordinator.Letter `json:"dead_letters"`
	Next    string               `json:"next,omitempty"` // the cursor of the page after; empty on the last
}

// DeadLetters lists dead letters. Those that a job has taken over and those whose
// chunk was loaded after all are left out unless Choice.All is set.
func (s *Service) DeadLetters(ctx context.Context, q LetterQuery) (LetterPage, error) {
	page := LetterPage{Letters: []coordinator.Letter{}}
	limit, err := rowsWanted(q.Limit)
	if err == nil {
		err = checkReason(q.Reason)
	}
	if err != nil {
		return page, err
	}
	from, skip, err := readLetterCursor(q.Cursor)
	if err != nil {
		return page, err
	}
	jobs, err := s.withLetters(ctx, q.Job)
	if err != nil {
		return page, err
	}
	for _, id := range jobs {
		if from != "" && id != from {
			continue
		}
		before := uint64(0)
		if from != "" {
			before, from = skip, ""
		}
		j, err := s.record(ctx, id)
		if err != nil {
			if q.Job == "" {
				continue // it went meanwhile
			}
			return page, err
		}
		n := uint64(0) // letters of this job that the choice lets through
		err = s.letters(j).Each(ctx, q.Choice, func(l coordinator.Letter) error {
			if n++; n <= before {
				return nil
			}
			if len(page.Letters) == limit {
				page.Next = letterCursor(id, n-1)
				return queue.ErrStop
			}
			page.Letters = append(page.Letters, l)
			return nil
		})
		if err != nil || page.Next != "" {
			return page, err
		}
	}
	return page, nil
}

// withLetters are the jobs that may have dead letters, the newest first.
func (s *Service) withLetters(ctx context.Context, only string) ([]string, error) {
	if only != "" {
		return []string{only}, nil
	}
	if err := s.board.wait(ctx); err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range s.board.list(func(e *entry) bool { return e.Totals.Dead > 0 || !e.State.Terminal() }) {
		ids = append(ids, e.ID)
	}
	return ids, nil
}

func (s *Service) letters(j job.Job) coordinator.Letters {
	return coordinator.Letters{Queue: s.Queue, Job: j, Place: coordinator.Places(j, s.Sources, s.Allow)}
}

func letterCursor(id string, n uint64) string {
	return base64.RawURLEncoding.EncodeToString([]byte(id + " " + strconv.FormatUint(n, 10)))
}

func readLetterCursor(text string) (id string, n uint64, err error) {
	if text == "" {
		return "", 0, nil
	}
	plain, err := base64.RawURLEncoding.DecodeString(text)
	id, number, _ := strings.Cut(string(plain), " ")
	if err == nil {
		n, err = strconv.ParseUint(number, 10, 64)
	}
	if err != nil || !job.ValidID(id) {
		return "", 0, badInput("cursor", "it is none that a page gave as next; leave it out for the first page")
	}
	return id, n, nil
}
