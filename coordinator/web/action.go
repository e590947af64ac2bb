package web

import (
	"fmt"
	"net/http"

	"drayage/coordinator/api"
	"drayage/pkg/job"
)

// action is something that can be done to a job.
type action struct {
	Name, Path string
	Asks       bool // before it is done
	Danger     bool
}

// actionsOf are those that the state of a job allows.
func actionsOf(j api.JobView) []action {
	path := func(verb string) string { return "/jobs/" + j.ID + "/" + verb }
	var all []action
	switch j.State {
	case job.Running:
		all = append(all, action{Name: "Pause", Path: path("pause")})
	case job.Paused:
		all = append(all, action{Name: "Resume", Path: path("resume")})
	}
	if !j.State.Terminal() && j.State != job.Cancelling {
		all = append(all, action{Name: "Cancel", Path: path("cancel"), Asks: true, Danger: true})
	}
	if j.State.Terminal() && j.UndoneAt.IsZero() {
		if j.Totals.Dead > 0 {
			all = append(all, action{Name: "Retry dead letters", Path: path("retry")})
		}
		if j.Totals.RowsRejected > 0 {
			all = append(all, action{Name: "Retry rejects", Path: path("retry-rejects")})
		}
	}
	return all
}

// questionPage asks before something is done. Without scripts it is a page, with
// them it is shown in a dialog.
type questionPage struct {
	frame
	Question, Yes, No string
	Text              []string
	Path, Back        string // where yes and no lead
	Hidden            []hidden
	Danger            bool
}

type hidden struct{ Name, Value string }

// ask asks before a job is cancelled; the other actions are not asked about.
func (s *Site) ask(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("job")
	if r.PathValue("action") != "cancel" {
		return noPage()
	}
	seen, err := s.watched.get(r.Context(), id)
	if err != nil {
		return err
	}
	s.write(w, r, http.StatusOK, "question", questionPage{
		frame: s.frame(r, "Cancel "+id+"?", ""), Question: "Cancel " + id + "?", Yes: "Cancel the job", No: "Let it go on", Danger: true,
		Path: "/jobs/" + id + "/cancel", Back: "/jobs/" + id,
		Text: []string{
			"Queued chunks are taken back and the workers let go of theirs. A cancelled job can not be resumed.",
			fmt.Sprintf("The %s rows that are loaded stay; dray undo %s takes them out again.", count(seen.job.Totals.RowsLoaded), id),
		},
	})
	return nil
}

func noPage() error {
	return &api.Problem{Status: http.StatusNotFound, Title: "there is no such page", Detail: "The address may be mistyped."}
}

// act does something to a job, and leads to the page of the job that shows it.
func (s *Site) act(w http.ResponseWriter, r *http.Request) error {
	id, action := r.PathValue("job"), r.PathValue("action")
	ctx := r.Context()
	shown := id
	var err error
	switch action {
	case "pause":
		_, err = s.service.Pause(ctx, id)
	case "resume":
		_, err = s.service.Resume(ctx, id)
	case "cancel":
		_, err = s.service.Cancel(ctx, id)
	case "retry", "retry-rejects":
		what := job.ReplayDead
		if action == "retry-rejects" {
			what = job.ReplayRejects
		}
		var done api.Replayed
		if done, err = s.service.Retry(ctx, id, api.RetryRequest{What: what}); err == nil && done.Job == "" {
			action = "left-nothing"
		} else {
			shown = done.Job
		}
	default:
		return noPage()
	}
	if err != nil {
		return err
	}
	s.watched.forget(shown)
	return seeOther(w, r, "/jobs/"+shown, action)
}
