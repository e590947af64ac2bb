package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// launcher starts processes from one thread that lives as long as it does: the
// kernel kills a child when the thread that forked it ends, and Go may end any
// other.
type launcher struct{ starts chan func() }

func newLauncher() *launcher {
	l := &launcher{starts: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for start := range l.starts {
			start()
		}
		// Unlocked, so that the thread goes back to the pool: its end would
		// be a signal to every child.
		runtime.UnlockOSThread()
	}()
	return l
}

func (l *launcher) start(cmd *exec.Cmd) error {
	done := make(chan error)
	l.starts <- func() { done <- cmd.Start() }
	return <-done
}

func (l *launcher) close() { close(l.starts) }

// restartAfter is the pause before a process that ended by itself is started
// again, as an init system would.
const restartAfter = 300 * time.Millisecond

// process is one member of the fleet. It is started again whenever it ends,
// unless a fault holds it down. It dies with the suite.
type process struct {
	name string
	argv []string
	env  []string
	log  string // file
	l    *launcher

	mu     sync.Mutex // guards argv too
	cmd    *exec.Cmd  // running, nil while there is none
	ended  chan struct{}
	down   bool          // held down by a fault
	wake   chan struct{} // closed and made anew when down or closed changes
	closed bool
	starts int
	faults int // ends that a fault caused

	gone chan struct{} // closed when the supervisor ended
}

func newProcess(l *launcher, dir, name string, argv, env []string) *process {
	p := &process{
		name: name, argv: argv, env: env, l: l, log: filepath.Join(dir, name+".log"),
		wake: make(chan struct{}), gone: make(chan struct{}),
	}
	go p.supervise()
	return p
}

func (p *process) supervise() {
	defer close(p.gone)
	for {
		p.mu.Lock()
		down, closed, wake := p.down, p.closed, p.wake
		p.mu.Unlock()
		if closed {
			return
		}
		if down {
			<-wake
			continue
		}
		if err := p.once(); err != nil {
			p.note("could not start: " + err.Error())
		}
		p.mu.Lock()
		down, closed, wake = p.down, p.closed, p.wake
		p.mu.Unlock()
		if !down && !closed {
			select {
			case <-time.After(restartAfter):
			case <-wake:
			}
		}
	}
}

// once runs the process to its end.
func (p *process) once() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	p.mu.Lock()
	cmd := exec.Command(p.argv[0], p.argv[1:]...) //nolint:gosec // the suite's own
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, out, out
	cmd.SysProcAttr = attributes()
	if p.down || p.closed {
		p.mu.Unlock()
		return nil
	}
	if err := p.l.start(cmd); err != nil {
		p.mu.Unlock()
		return err
	}
	ended := make(chan struct{})
	p.cmd, p.ended, p.starts = cmd, ended, p.starts+1
	p.mu.Unlock()
	err = cmd.Wait()
	p.mu.Lock()
	p.cmd = nil
	close(ended)
	p.mu.Unlock()
	p.note(fmt.Sprintf("process %d ended: %v", cmd.Process.Pid, err))
	return nil
}

// note writes a line of the suite's own into the process's log.
func (p *process) note(text string) {
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "==== %s chaos: %s\n", time.Now().UTC().Format("15:04:05.000"), text)
}

func (p *process) change(set func()) {
	p.mu.Lock()
	set()
	close(p.wake)
	p.wake = make(chan struct{})
	p.mu.Unlock()
}

// signal sends s to the process, if there is one.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s)
	}
}

// end holds the process down with s (SIGKILL, or SIGTERM and in time SIGKILL)
// and returns when it has ended. Up lets it start again.
func (p *process) end(s syscall.Signal, patience time.Duration) {
	var ended chan struct{}
	p.change(func() {
		p.down = true
		if p.cmd != nil {
			ended = p.ended
			p.faults++
			_ = p.cmd.Process.Signal(s)
		}
	})
	p.note("sent " + s.String())
	if ended == nil {
		return
	}
	if s != syscall.SIGKILL {
		select {
		case <-ended:
			return
		case <-time.After(patience):
			p.signal(syscall.SIGKILL)
		}
	}
	<-ended
}

// become gives the process another command line for its next start, and returns
// the one that it had.
func (p *process) become(argv []string) (before []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, p.argv = p.argv, argv
	return before
}

// up lets a process that was held down start again.
func (p *process) up() { p.change(func() { p.down = false }) }

// close ends the process for good.
func (p *process) close() {
	p.change(func() {
		p.closed = true
		if p.cmd != nil {
			_ = p.cmd.Process.Kill()
		}
	})
	<-p.gone
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// unasked is how often the process ended without a fault that ended it.
func (p *process) unasked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	running := 0
	if p.cmd != nil {
		running = 1
	}
	return max(0, p.starts-running-p.faults)
}

// children are the processes that process pid has started and that run.
func children(pid int) []int {
	if pid == 0 {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		// pid (name) state parent …, where the name may hold anything.
		_, rest, ok := strings.Cut(string(text), ") ")
		if f := strings.Fields(rest); ok && len(f) > 1 && f[0] != "Z" && f[1] == strconv.Itoa(pid) {
			out = append(out, child)
		}
	}
	return out
}
