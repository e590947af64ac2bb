package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/charmbracelet/x/vt"
	"golang.org/x/sys/unix"
)

// seat is a person at a terminal in front of a dray.
type seat struct {
	*process
	person *os.File
	screen *vt.SafeEmulator
	mu     sync.Mutex
	sent   bytes.Buffer // all that the program wrote
}

// sit starts a dray on a terminal of 110 by 30.
func sit(t *testing.T, env []string, args ...string) *seat {
	t.Helper()
	person, program := openTerminal(t)
	if err := unix.IoctlSetWinsize(int(program.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 110, Row: 30}); err != nil {
		t.Fatal(err)
	}
	s := &seat{person: person, screen: vt.NewSafeEmulator(110, 30)}
	s.process = &process{t: t, name: args[0], cmd: exec.Command(os.Args[0], args...), done: make(chan struct{})}
	s.cmd.Env = append(append(os.Environ(), "TERM=xterm-256color"), env...)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = program, program, program
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.cmd.Wait(); close(s.done) }()
	var ends sync.WaitGroup
	ends.Go(func() { // ends when the terminal is closed
		buf := make([]byte, 4096)
		for {
			n, err := person.Read(buf)
			s.mu.Lock()
			s.sent.Write(buf[:n])
			_, _ = s.screen.Write(buf[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	ends.Go(func() { _, _ = io.Copy(person, s.screen) }) // what a terminal answers when it is asked
	t.Cleanup(func() {
		s.signal(unix.SIGKILL)
		<-s.done
		program.Close()
		person.Close()
		_ = s.screen.InputPipe().(io.Closer).Close()
		ends.Wait()
		if t.Failed() {
			t.Logf("the screen of %s:\n%s", s.name, s.screen.String())
		}
	})
	return s
}

// sees waits until the screen shows all of it.
func (s *seat) sees(parts ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("the screen shows %q", parts), func() bool {
		s.mu.Lock() // of the emulator, String alone does not take its own
		shown := s.screen.String()
		s.mu.Unlock()
		for _, part := range parts {
			if !strings.Contains(shown, part) {
				return false
			}
		}
		return true
	})
}

func (s *seat) types(keys string) {
	s.t.Helper()
	if _, err := s.person.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// wrote returns all that the program wrote.
func (s *seat) wrote() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent.String()
}

var coloured = regexp.MustCompile(`\x1b\[[0-9;]*3[0-7]m`)

// A person watches jobs, holds one, lets it go on and cancels it; a script gets
// lines and the exit code of the job.
func watchJobs(t *testing.T, s *served) {
	file := filepath.Join(s.dir, "watched.yaml")
	text := `pipeline: watched
source: {generate: {rows: 4000, select: 'number AS id'}, rows: 50}
load: {table: watched, order_by: id}
limits: {in_flight: 1}
`
	writeFile(t, file, text)
	for _, key := range []string{"1", "2"} {
		expect(t, s.env, []string{"submit", file, "--key", key}, 0, "watched-"+key)
		eventually(t, "the job is paused", func() bool {
			_, _, code := dray(t, s.env, "pause", "watched-"+key)
			return code == 0
		})
	}
	t.Run("all on a terminal", func(t *testing.T) {
		p := sit(t, s.env, "watch")
		p.sees("2 live jobs, 1 worker", "▸ watched-2", "  watched-1", "PAUSED", "it was paused; resume it to go on", "default.watched", "q leave")
		p.types("\x1b[B") // down
		p.sees("▸ watched-1")
		p.types("c")
		p.sees("Cancel watched-1 for good?")
		p.types("n")
		p.sees("nothing was cancelled")
		p.types("c")
		p.sees("Cancel watched-1 for good?")
		p.types("y")
		p.sees("watched-1  CANCELLED", "1 live job,")
		p.types("p")
		p.sees("pause: job watched-1 is CANCELLED and can not be paused")
		p.types("\x1b[A") // up
		p.sees("▸ watched-2")
		p.types("q")
		p.exits(0)
		p.sees("watched-2 goes on: dray watch watched-2")
		if coloured.MatchString(p.wrote()) {
			t.Error("it is coloured although NO_COLOR is set")
		}
	})
	t.Run("one to its end on a terminal", func(t *testing.T) {
		p := sit(t, append(s.env, "NO_COLOR="), "watch", "watched-2")
		p.sees("▸ watched-2", "PAUSED")
		p.types("r")
		p.exits(0)
		p.sees("watched-2: done", "4,000 rows, counted by chunk in the table")
		if !coloured.MatchString(p.wrote()) {
			t.Error("it is not coloured")
		}
	})
	bad, _ := letters(t, s.dir, "unread")
	t.Run("lines", func(t *testing.T) {
		expect(t, s.env, []string{"submit", bad, "--key", "1"}, 0)
		expect(t, s.env, []string{"watch", "unread-1"}, 4, "unread-1  done_with_rejects 100%", "3 of 4 chunks")
		expect(t, s.env, []string{"watch", "unread-1", "watched-1", "watched-2"}, 1, "watched-1  cancelled", "watched-2  done ")
		expect(t, s.env, []string{"watch", "nope"}, 2, "there is no job nope")
	})
	t.Run("JSON", func(t *testing.T) {
		out := expect(t, s.env, []string{"watch", "unread-1", "--json"}, 4)
		events := map[string]int{}
		for line := range strings.Lines(out) {
			var e struct {
				Event string `json:"event"`
				Job   struct {
					ID    string `json:"job"`
					State string `json:"state"`
				} `json:"job"`
				Attempt struct {
					Job, Error string
				} `json:"attempt"`
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			events[e.Event]++
			if e.Job.ID+e.Attempt.Job != "unread-1" || e.Event == "job" && e.Job.State != "DONE_WITH_REJECTS" || e.Event == "attempt" && e.Attempt.Error == "" {
				t.Errorf("it printed %s", line)
			}
		}
		if events["job"] != 1 || events["attempt"] != 3 {
			t.Errorf("it printed %v", events)
		}
	})
}
