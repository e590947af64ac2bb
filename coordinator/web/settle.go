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

// settling is what is to be done to dead letters, as a form says it.
type settling struct {
	drop      bool
	all       bool     // that match the filter, rather than letters
	letters   []string // as job/chunk
	filter    deadFilter
	confirmed bool // for drop, which is asked about
}

// readSettling reads the form of the page. Its buttons have the names do, for
// the letters that are checked or all that match, and one, for that of a row.
func readSettling(r *http.Request) (settling, error) {
	if err := r.ParseForm(); err != nil {
		return settling{}, fmt.Errorf("reading the form: %w", err)
	}
	f := r.PostForm
	st := settling{letters: f["letter"], filter: deadFilter{f.Get("job"), f.Get("reason"), f.Get("error")}, confirmed: f.Get("confirmed") == "yes"}
	do := f.Get("do")
	if verb, letter, ok := strings.Cut(f.Get("one"), " "); ok {
		do, st.letters = verb, []string{letter}
	}
	switch do {
	case "replay", "drop":
	case "replay-all", "drop-all":
		st.all, st.letters = true, nil
	default:
		return st, &api.Problem{Status: http.StatusBadRequest, Title: "the form says nothing to do", Detail: "It has neither replay nor drop."}
	}
	st.drop = strings.HasPrefix(do, "drop")
	return st, nil
}

// settle replays or drops dead letters.
func (s *Site) settle(w http.ResponseWriter, r *http.Request) error {
	st, err := readSettling(r)
	if err != nil {
		return err
	}
	choices, err := s.choices(r.Context(), st)
	if err != nil {
		return err
	}
	if len(choices) == 0 {
		return seeOther(w, r, "/dead", "nothing")
	}
	if st.drop && !st.confirmed {
		s.write(w, r, http.StatusOK, "question", st.question(s.frame(r, "Drop dead letters?", "")))
		return nil
	}
	var last string
	var failed []error
	for id, choice := range sorted(choices) {
		if st.drop {
			_, err = s.service.DropDead(r.Context(), id, api.DropRequest{Choice: choice, AllChunks: !choice.Narrow()})
		} else {
			var done api.Replayed
			done, err = s.service.Retry(r.Context(), id, api.RetryRequest{Choice: choice})
			last = done.Job
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	switch {
	case len(failed) > 0 && len(choices) > 1:
		return fmt.Errorf("%d of %d jobs were seen to; of the others: %w", len(choices)-len(failed), len(choices), errors.Join(failed...))
	case len(failed) > 0:
		return failed[0]
	case st.drop:
		return seeOther(w, r, "/dead", "drop")
	case len(choices) == 1 && last != "":
		return seeOther(w, r, "/jobs/"+last, "retry")
	}
	return seeOther(w, r, "/dead", "replay")
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
		frame: f, Question: "Drop " + what + "?", Yes: "Drop", No: "Keep", Danger: true, Path: "/dead", Back: st.filter.address(nil),
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
	do := "drop"
	if st.all {
		do = "drop-all"
	}
	hide(url.Values{"confirmed": {"yes"}, "do": {do}, "letter": st.letters, "job": {st.filter.Job}, "reason": {st.filter.Reason}, "error": {st.filter.Error}})
	return q
}
