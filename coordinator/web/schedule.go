package web

import (
	"net/http"
	"time"
)

// schedulesPage lists the schedules.
type schedulesPage struct {
	frame
	Schedules []scheduleRow
}

type scheduleRow struct {
	Name, Cron, Zone string
	Paused           bool
	Next             time.Time
	LastJob          string // "" before the first run
	Last             stateView
	Skipped, Missed  uint64
}

func (s *Site) schedules(w http.ResponseWriter, r *http.Request) error {
	list, err := s.service.Schedules(r.Context())
	if err != nil {
		return err
	}
	p := schedulesPage{frame: s.frame(r, "Schedules", "")}
	for _, one := range list.Schedules {
		row := scheduleRow{Name: one.Name, Cron: one.Timing.Cron, Zone: one.Timing.Zone, Paused: one.Paused, Next: one.Next, Skipped: one.Skipped, Missed: one.Missed}
		if one.Last != nil {
			row.LastJob = one.Last.Job
		}
		if one.LastState != "" {
			row.Last = jobState(one.LastState)
		}
		p.Schedules = append(p.Schedules, row)
	}
	s.write(w, r, http.StatusOK, "schedules", p)
	return nil
}

// actSchedule pauses, resumes or runs a schedule.
func (s *Site) actSchedule(w http.ResponseWriter, r *http.Request) error {
	name, action := r.PathValue("schedule"), r.PathValue("action")
	var err error
	switch action {
	case "pause":
		_, err = s.service.PauseSchedule(r.Context(), name)
	case "resume":
		_, err = s.service.ResumeSchedule(r.Context(), name)
	case "run":
		run, err := s.service.RunSchedule(r.Context(), name)
		if err != nil {
			return err
		}
		return seeOther(w, r, "/jobs/"+run.Job, "schedule-run")
	default:
		return noPage()
	}
	if err != nil {
		return err
	}
	return seeOther(w, r, "/schedules", "schedule-"+action)
}
