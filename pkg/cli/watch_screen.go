package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"drayage/coordinator"
	"drayage/coordinator/api"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// watchScreen shows the feed on the terminal until every named job has ended. When
// the person leaves before, what is left to say is said and the error is an
// exitError.
func (a *app) watchScreen(ctx context.Context, f *feed) error {
	begin := &screen{ctx: ctx, feed: f, width: a.width(), height: 24}
	end, err := tea.NewProgram(begin, tea.WithContext(ctx), tea.WithInput(a.In), tea.WithOutput(a.Out),
		tea.WithEnvironment(os.Environ()), tea.WithColorProfile(profile(a.Out)), tea.WithoutSignalHandler()).Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("showing the jobs: %w", err)
	}
	last, ok := end.(*screen)
	if !ok || last.over {
		return nil
	}
	for _, r := range last.scene.jobs {
		if !r.State.Terminal() {
			fmt.Fprintf(a.Err, "%s goes on: dray watch %[1]s\n", r.ID)
		}
	}
	return &exitError{code: last.code}
}

// screen is what fills the terminal. Its methods run on bubbletea's one goroutine;
// what takes time runs in the commands that they return.
type screen struct {
	ctx           context.Context
	feed          *feed
	scene         scene
	seen          bool   // there was a look
	chosen        string // job
	width, height int
	asked         string // the job that c was pressed for, until there is an answer
	note          string // what became of the last key
	trouble       string // why the last look failed
	over          bool
	code          int
}

// What the commands bring back.
type (
	sceneMsg struct {
		scene scene
		err   error
	}
	noteMsg string
)

func (s *screen) Init() tea.Cmd { return s.look(0) }

// look looks at the fleet after a while.
func (s *screen) look(after time.Duration) tea.Cmd {
	chosen := s.chosen
	return tea.Tick(after, func(time.Time) tea.Msg {
		if chosen != "" {
			s.feed.errors.follow(s.ctx, chosen)
		}
		seen, err := s.feed.look(s.ctx, chosen)
		return sceneMsg{seen, err}
	})
}

func (s *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch m := msg.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = m.Width, m.Height
	case noteMsg:
		s.note = string(m)
	case tea.KeyPressMsg:
		return s, s.press(m)
	case sceneMsg:
		if m.err != nil {
			s.trouble = m.err.Error()
			return s, s.look(lookEvery)
		}
		s.scene, s.seen, s.trouble, s.over = m.scene, true, "", m.scene.over
		if s.over {
			return s, tea.Quit
		}
		if s.place() < 0 && len(s.scene.jobs) > 0 {
			s.chosen = s.scene.jobs[0].ID
			return s, s.look(0)
		}
		return s, s.look(lookEvery)
	}
	return s, nil
}

// place is that of the chosen job in the list, -1 when it is not there.
func (s *screen) place() int {
	return slices.IndexFunc(s.scene.jobs, func(r api.JobRow) bool { return r.ID == s.chosen })
}

func (s *screen) press(key tea.KeyPressMsg) tea.Cmd {
	if s.asked != "" {
		id := s.asked
		s.asked, s.note = "", ""
		if key.String() == "y" || key.String() == "Y" {
			return s.act("cancel", id, coordinator.Cancel)
		}
		s.note = "nothing was cancelled"
		return nil
	}
	switch key.String() {
	case "q", "esc":
		return tea.Quit
	case "ctrl+c":
		s.code = ExitInterrupted
		return tea.Quit
	case "up", "k":
		s.choose(-1)
	case "down", "j":
		s.choose(1)
	case "p":
		return s.act("pause", s.chosen, coordinator.Pause)
	case "r":
		return s.act("resume", s.chosen, coordinator.Resume)
	case "c":
		if i := s.place(); i >= 0 && !s.scene.jobs[i].State.Terminal() {
			s.asked = s.chosen
		}
	}
	return nil
}

// choose moves the choice by so many jobs.
func (s *screen) choose(by int) {
	if n := len(s.scene.jobs); n > 0 {
		s.chosen = s.scene.jobs[min(max(s.place()+by, 0), n-1)].ID
	}
}

// act does something to a job, and notes what became of it.
func (s *screen) act(what, id string, do func(context.Context, *queue.Queue, string) (job.Job, error)) tea.Cmd {
	if id == "" {
		return nil
	}
	s.note = what + " " + id + " …"
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(s.ctx, lookWait)
		defer cancel()
		j, err := do(ctx, s.feed.queue, id)
		if err != nil {
			return noteMsg(what + ": " + err.Error())
		}
		return noteMsg(fmt.Sprintf("%s %s", j.ID, j.State))
	}
}

func (s *screen) View() tea.View {
	v := tea.NewView(s.draw())
	v.AltScreen = true
	v.WindowTitle = "dray watch"
	return v
}
