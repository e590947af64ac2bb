package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"drayage/coordinator"
	"drayage/coordinator/api"
)

// settling is which dead letters a form means.
type settling struct {
	all       bool     // that match the filter, rather than letters
	letters   []string // as job/chunk
	filter    deadFilter
	confirmed bool // to drop them, which is asked about
}

// readSettling reads the form of the page. Its buttons are called which, for the
// letters that are checked or all that match, and one, for that of a row.
func readSettling(r *http.Request) (settling, error) {
	if err := r.ParseForm(); err != nil {
		return settling{}, fmt.Errorf("reading the form: %w", err)
	}
	f := r.PostForm
	st := settling{letters: f["letter"], filter: deadFilter{f.Get("job"), f.Get("reason"), f.Get("error")}, confirmed: f.Get("confirmed") == "yes"}
	switch one := f.Get("one"); {
	case one != "":
		st.letters = []string{one}
	case f.Get("which") == "all":
		st.all, st.letters = true, nil
	}
	return st, nil
}

// replay has new jobs load dead letters again, one for each job that they are of.
func (s *Site) replay(w http.ResponseWriter, r *http.Request) error {
	_, choices, err := s.chosen(r)
	if err != nil {
		return err
	}
	var last string
	err = each(choices, func(id string, c coordinator.Choice) error {
		done, err := s.service.Retry(r.Context(), id, api.RetryRequest{Choice: c})
		last = done.Job
		return err
	})
	switch {
	case err != nil:
		return err
	case len(choices) == 0:
		return seeOther(w, r, "/dead", "nothing")
	case len(choices) == 1 && last != "":
		return seeOther(w, r, "/jobs/"+last, "retry")
	}
	return seeOther(w, r, "/dead", "replay")
}

// drop forgets dead letters, when it was asked about.
func (s *Site) drop(w http.ResponseWriter, r *http.Request) error {
	st, choices, err := s.chosen(r)
	switch {
	case err != nil:
		return err
	case len(choices) == 0:
		return seeOther(w, r, "/dead", "nothing")
	case !st.confirmed:
		s.write(w, r, http.StatusOK, "question", st.question(s.frame(r, "Drop dead letters?", "")))
		return nil
	}
	err = each(choices, func(id string, c coordinator.Choice) error {
		_, err := s.service.DropDead(r.Context(), id, api.DropRequest{Choice: c, AllChunks: !c.Narrow()})
		return err
	})
	if err != nil {
		return err
	}
	return seeOther(w, r, "/dead", "drop")
}

func (s *Site) chosen(r *http.Request) (settling, map[string]coordinator.Choice, error) {
	st, err := readSettling(r)
	if err != nil {
		return st, nil, err
	}
	choices, err := s.choices(r.Context(), st)
	return st, choices, err
}

// each does something to the letters of each job, also when it fails for some.
func each(choices map[string]coordinator.Choice, do func(string, coordinator.Choice) error) error {
	var failed []error
	for id, c := range sorted(choices) {
		if err := do(id, c); err != nil {
			failed = append(failed, err)
		}
	}
	if len(choices) > 1 && len(failed) > 0 {
		return fmt.Errorf("%d of %d jobs were seen to; of the others: %w", len(choices)-len(failed), len(choices), errors.Join(failed...))
	}
	return errors.Join(failed...)
}

// choices are what is to be done by job.
func (s *Site) choices(ctx context.Context, st settling) (map[string]coordinator.Choice, error) {
	by := map[string]coordinator.Choice{}
	if !st.all {
		for _, letter := range st.letters {
			id, number, _ := strings.Cut(letter, "/")
			n, err := chunkNumber(number)
			if err != nil {
				return nil, err
			}
			c := by[id]
			c.Chunks = append(c.Chunks, n)
			by[id] = c
		}
		return by, nil
	}
	if st.filter.Job != "" {
		by[st.filter.Job] = st.filter.choice()
		return by, nil
	}
	for cursor := ""; ; {
		page, err := s.service.DeadLetters(ctx, api.LetterQuery{Choice: st.filter.choice(), Limit: maxLetters, Cursor: cursor})
		if err != nil {
			return nil, err
		}
		for _, l := range page.Letters {
			by[l.Chunk.Job] = st.filter.choice()
		}
		if cursor = page.Next; cursor == "" {
			return by, nil
		}
	}
}

// maxLetters bounds the dead letters that are read at once.
const maxLetters = 1000

// question asks before dead letters are dropped.
func (st settling) question(f frame) questionPage {
	what := "this dead letter"
	switch {
	case st.all && st.filter.Narrow():
		what = "all dead letters that match"
	case st.all:
		what = "all dead letters"
	case len(st.letters) > 1:
		what = fmt.Sprintf("these %d dead letters", len(st.letters))
	}
	q := questionPage{
		frame: f, Question: "Drop " + what + "?", Yes: "Drop", No: "Keep", Danger: true, Path: "/dead/drop", Back: st.filter.address(nil),
		Text: []string{"Their input is not loaded, and can not be replayed from here any more."},
	}
	for name, value := range map[string]string{"job": st.filter.Job, "reason": st.filter.Reason, "error": st.filter.Error} {
		if value != "" && st.all {
			q.Text = append(q.Text, fmt.Sprintf("They have %s %q.", name, value))
		}
	}
	slices.Sort(q.Text[1:])
	hide := func(values url.Values) {
		for name, list := range sorted(values) {
			for _, v := range list {
				q.Hidden = append(q.Hidden, hidden{name, v})
			}
		}
	}
	which := "checked"
	if st.all {
		which = "all"
	}
	hide(url.Values{"confirmed": {"yes"}, "which": {which}, "letter": st.letters, "job": {st.filter.Job}, "reason": {st.filter.Reason}, "error": {st.filter.Error}})
	return q
}
