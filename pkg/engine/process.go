package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"drayage/pkg/job"
)

// Times of the supervision of the child.
const (
	startTimeout = 60 * time.Second // until the child answers; opening large tables takes long
	stopTimeout  = 15 * time.Second // until a child that was asked to stop is killed
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = 5 * time.Second        // of a child that does not come up
	upBackoff    = 200 * time.Millisecond // of one that did: what it crashed of, others wait behind
	steadyAfter  = 30 * time.Second       // a child that lived as long starts the backoff anew
)

// Config says how an engine is started. The zero value starts `dray engine`
// in a temporary directory.
type Config struct {
	// Command starts the child. Default: this executable with "engine".
	Command []string
	// Path is the data directory. Empty: a temporary one, removed by Close.
	Path string
	// Listen is "host:port" or "unix:/path". Default: 127.0.0.1:0. The
	// parent opens it and keeps it open, so that the address outlives a crash
	// of the child; requests that come meanwhile wait.
	Listen string
	// Name is the engine's name in the log.
	Name string
	// MaxMemory (bytes), MaxThreads, MaxConnections and ReceiveTimeout: see
	// ServerConfig; 0: its default.
	MaxMemory      int64
	MaxThreads     int
	MaxConnections int
	ReceiveTimeout time.Duration
	// User and Password are given to the child by its environment, never on
	// the command line. Default: "default" and a random password.
	User, Password string
	// Library is the path of libchdb; empty: see FindLibrary.
	Library string
	// Confine holds the engine to what it names, where the kernel can (see
	// ConfinementHere). nil: it reaches whatever its user may, with the whole
	// environment of this process.
	Confine *Confine
	Log     zerolog.Logger
}

// Usage is what an engine took from the machine.
type Usage struct {
	CPU    time.Duration // user and system, of all its processes so far
	MaxRSS int64         // bytes, of the largest of them
}

func (u Usage) plus(v Usage) Usage {
	return Usage{u.CPU + v.CPU, max(u.MaxRSS, v.MaxRSS)}
}

// Process is a running engine: a child that is started again when it crashes.
// Its methods may be called concurrently.
type Process struct {
	cfg       Config
	url       string
	client    *Client
	listener  listener
	file      *os.File // of the listener, for the child
	temporary string   // removed by Close
	stop      context.CancelFunc
	stopped   chan struct{} // closed when the supervisor ended
	gate      *semaphore.Weighted

	mu       sync.Mutex
	life     *life // of the running child, or of the next one
	pid      int   // of the running child, 0 when there is none
	restarts int
	usage    Usage   // of the children that ended
	lender   *lender // to the running child; nil: it is not confined
	err      error   // of the last child
}

// listener is a listener whose file can be given to a child.
type listener interface {
	net.Listener
	File() (*os.File, error)
}

// Start starts an engine and returns when it answers. The child ends when this
// process does, however it ends. Errors: ErrNoLibrary, ErrLocked, or what the
// child said.
func Start(ctx context.Context, cfg Config) (_ *Process, err error) {
	if cfg.Library, err = FindLibrary(cfg.Library); err != nil {
		return nil, err
	}
	if len(cfg.Command) == 0 {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the executable of the engine: %w", err)
		}
		cfg.Command = []string{exe, "engine"}
	}
	if cfg.User == "" {
		cfg.User = "default"
	}
	if cfg.Password == "" {
		var random [16]byte
		_, _ = rand.Read(random[:])
		cfg.Password = hex.EncodeToString(random[:])
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Name == "" {
		cfg.Name = "engine"
	}
	cfg.Log = cfg.Log.With().Str("engine", cfg.Name).Logger()

	p := &Process{cfg: cfg, stopped: make(chan struct{}), gate: semaphore.NewWeighted(everything), life: &life{over: make(chan struct{})}}
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	if cfg.Path == "" {
		if p.temporary, err = os.MkdirTemp("", "dray-engine-"); err != nil {
			return nil, fmt.Errorf("make a temporary data directory: %w", err)
		}
		p.cfg.Path = p.temporary
	}
	if err := p.listen(); err != nil {
		return nil, err
	}
	if p.client, err = NewClient(p.url); err != nil {
		return nil, err
	}
	p.client.life = func() *life {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.life
	}
	if p.confined() {
		p.client.lending = p.lend
	}
	supervised, stop := context.WithCancel(context.Background())
	p.stop = stop
	ready := make(chan error, 1)
	go p.supervise(supervised, ready)
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		stop()
		<-p.stopped
		return nil, fmt.Errorf("start the engine: %w", err)
	}
	return p, nil
}

// listen opens the address that the children serve.
func (p *Process) listen() error {
	network, address := listenAddress(p.cfg.Listen)
	l, err := net.Listen(network, address)
	if err != nil {
		return fmt.Errorf("listen for the engine on %s: %w", p.cfg.Listen, err)
	}
	p.listener = l.(listener)
	if p.file, err = p.listener.File(); err != nil {
		return fmt.Errorf("take the file of the engine's listener: %w", err)
	}
	user := url.UserPassword(p.cfg.User, p.cfg.Password).String()
	if network == "unix" {
		p.url = "http+unix://" + user + "@" + address
	} else {
		p.url = "http://" + user + "@" + l.Addr().String()
	}
	return nil
}

// release frees what Start took besides the child.
func (p *Process) release() {
	if p.client != nil {
		p.client.http.CloseIdleConnections()
	}
	if p.file != nil {
		p.file.Close()
	}
	if p.listener != nil {
		p.listener.Close()
	}
	if p.temporary != "" {
		os.RemoveAll(p.temporary)
	}
}

// URL is the address of the engine with user and password. It stays the same
// when the child is restarted. On a unix socket it is http+unix://user:pw@/path,
// which only Client understands.
func (p *Process) URL() string { return p.url }

// Client is a client of the engine.
func (p *Process) Client() *Client { return p.client }

// Restarts is how often the child had to be started again.
func (p *Process) Restarts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restarts
}

// Pid is the process id of the running child, 0 while there is none. It is for
// tests that kill it.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Usage is what the children have used so far, the running one included as
// far as the system tells.
func (p *Process) Usage() Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid == 0 {
		return p.usage
	}
	return p.usage.plus(processUsage(p.pid))
}

// Close stops the engine: running requests get a few seconds to end. It waits
// for the child and returns what all children used. It may be called once; the
// error is that of a child that did not end by itself.
func (p *Process) Close() (Usage, error) {
	p.stop()
	<-p.stopped
	p.release()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.usage, p.err
}

// supervise runs children until ctx is cancelled. The first one's fate goes to
// ready; when it fails, there is no second.
func (p *Process) supervise(ctx context.Context, ready chan<- error) {
	defer close(p.stopped)
	// The kernel ends the child when the thread that forked it ends, so that
	// thread must not be one that Go may end.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	backoff := firstBackoff
	for first := true; ; first = false {
		started := time.Now()
		up, err := p.runChild(ctx, func() {
			if first {
				ready <- nil
			}
		})
		if first && !up {
			ready <- err
			return
		}
		p.mu.Lock()
		stopped := ctx.Err() != nil
		if p.err = nil; stopped {
			p.err = err
		} else {
			p.restarts++ // before statements fail, for users know by it that tables are gone
		}
		n, over := p.restarts, p.life
		p.life = &life{over: make(chan struct{})}
		p.mu.Unlock()
		if over.why = err; err == nil {
			over.why = &endError{ErrEnded, errors.New("it was asked to stop")}
		}
		close(over.over)
		if stopped {
			return
		}
		p.client.http.CloseIdleConnections() // to the child that is gone
		switch {
		case time.Since(started) > steadyAfter:
			backoff = firstBackoff
		case up:
			backoff = min(backoff, upBackoff)
		}
		p.cfg.Log.Warn().Err(err).Int("restarts", n).Int64("retry_ms", backoff.Milliseconds()).Msg("the engine ended, it is started again")
		timer := time.NewTimer(backoff)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// runChild starts one child, calls up when it is ready, and waits for its end.
// When ctx is cancelled it asks the child to stop, and kills it when it does
// not. The error says why the child ended; nil when it was asked to.
func (p *Process) runChild(ctx context.Context, up func()) (wasUp bool, err error) {
	readyR, readyW, err := os.Pipe()
	if err != nil {
		return false, fmt.Errorf("make a pipe to the child: %w", err)
	}
	defer readyR.Close()
	lifeR, lifeW, err := os.Pipe()
	if err != nil {
		readyW.Close()
		return false, fmt.Errorf("make a pipe to the child: %w", err)
	}
	defer lifeW.Close()
	cmd := exec.Command(p.cfg.Command[0], p.cfg.Command[1:]...)
	cmd.ExtraFiles = []*os.File{p.file, readyW, lifeR}
	cmd.Env = p.environment()
	if p.confined() {
		lender, lent, err := newLender()
		if err != nil {
			readyW.Close()
			lifeR.Close()
			return false, err
		}
		defer lender.close()
		defer lent.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, lent)
		confine, err := json.Marshal(p.cfg.Confine.complete(p.cfg.Library, p.cfg.Path))
		if err != nil {
			return false, fmt.Errorf("write down what the engine may reach: %w", err)
		}
		cmd.Env = append(cmd.Env, envLend+"=6", envConfine+"="+string(confine))
		p.mu.Lock()
		p.lender = lender
		p.mu.Unlock()
	}
	logged := &lines{log: p.cfg.Log}
	cmd.Stderr = logged
	cmd.Stdout = logged
	cmd.SysProcAttr = childAttributes()
	err = cmd.Start()
	readyW.Close()
	lifeR.Close()
	if err != nil {
		return false, fmt.Errorf("run %s: %w", strings.Join(p.cfg.Command, " "), err)
	}
	p.mu.Lock()
	p.pid = cmd.Process.Pid
	p.mu.Unlock()

	var ready atomic.Bool
	ended := make(chan struct{})
	asked := make(chan struct{})
	go func() { // stops the child
		defer close(asked)
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		lifeW.Close()
		if !ready.Load() {
			_ = cmd.Process.Kill() // it has nothing to finish
		}
		timer := time.NewTimer(stopTimeout)
		defer timer.Stop()
		select {
		case <-ended:
		case <-timer.C:
			_ = cmd.Process.Kill()
		}
	}()
	reported := make(chan report, 1)
	go func() { // hears from the child
		var r report
		_ = readyR.SetReadDeadline(time.Now().Add(startTimeout))
		if err := json.NewDecoder(io.LimitReader(readyR, 1<<20)).Decode(&r); err != nil {
			r = report{Failure: failureOther, Message: "it ended before it was ready"}
			if ctx.Err() != nil {
				r.Failure = failureStopped
			} else if errors.Is(err, os.ErrDeadlineExceeded) {
				r.Message = "it was not ready in time"
				_ = cmd.Process.Kill()
			}
		}
		if r.Failure == "" {
			ready.Store(true)
			p.cfg.Log.Debug().Int("pid", cmd.Process.Pid).Str("version", r.Version).Msg("the engine is ready")
			up()
		}
		reported <- r
	}()
	waitErr := cmd.Wait()
	close(ended)
	<-asked
	r := <-reported
	logged.flush()

	p.mu.Lock()
	p.pid = 0
	p.usage = p.usage.plus(usageOf(cmd.ProcessState))
	p.mu.Unlock()
	switch r.Failure {
	case "":
		if ctx.Err() != nil && waitErr == nil {
			return true, nil
		}
		return true, end(waitErr)
	case failureStopped:
		return false, nil
	case failureLibrary:
		return false, fmt.Errorf("%w (%s)", ErrNoLibrary, r.Message)
	case failureLocked:
		return false, fmt.Errorf("%s: %w", p.cfg.Path, ErrLocked)
	default:
		msg := r.Message
		if tail := logged.tail(); tail != "" {
			msg += ": " + tail
		}
		return false, fmt.Errorf("the engine's process: %s", msg)
	}
}

// confined reports whether the kernel holds the children to what they may reach.
func (p *Process) confined() bool { return p.cfg.Confine != nil && ConfinementHere().Files }

// lend implements lending, with the running child.
func (p *Process) lend(fd uintptr) (string, func(), error) {
	p.mu.Lock()
	l := p.lender
	p.mu.Unlock()
	if l == nil {
		return "", nil, job.WithClass(errors.New("the engine is not running"), job.Retry)
	}
	return l.lend(fd)
}

// environment is the child's: ours, without what is meant for another engine,
// and little of it when secrets are kept from it.
func (p *Process) environment() []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "DRAY_ENGINE_") || p.cfg.Confine != nil && !slices.Contains(passedOn, name) {
			continue
		}
		env = append(env, kv)
	}
	set := func(name, value string) { env = append(env, name+"="+value) }
	set(envListener, "3")
	set(envReady, "4")
	set(envLife, "5")
	set("DRAY_ENGINE_PATH", p.cfg.Path)
	set("DRAY_ENGINE_LISTEN", p.cfg.Listen)
	set("DRAY_ENGINE_USER", p.cfg.User)
	set("DRAY_ENGINE_PASSWORD", p.cfg.Password)
	set("DRAY_LIBCHDB", p.cfg.Library)
	if p.cfg.Confine != nil {
		set("DRAY_DATA_DIR", p.cfg.Path) // it has no HOME to find one in
	}
	set("TZ", "UTC")
	if p.cfg.MaxMemory > 0 {
		set("DRAY_ENGINE_MAX_MEMORY", strconv.FormatInt(p.cfg.MaxMemory, 10))
	}
	if p.cfg.MaxThreads > 0 {
		set("DRAY_ENGINE_MAX_THREADS", strconv.Itoa(p.cfg.MaxThreads))
	}
	if p.cfg.MaxConnections > 0 {
		set("DRAY_ENGINE_MAX_CONNECTIONS", strconv.Itoa(p.cfg.MaxConnections))
	}
	if p.cfg.ReceiveTimeout > 0 {
		set("DRAY_ENGINE_RECEIVE_TIMEOUT", p.cfg.ReceiveTimeout.String())
	}
	return env
}

// usageOf is what a process that ended has used.
func usageOf(state *os.ProcessState) Usage {
	if state == nil {
		return Usage{}
	}
	u := Usage{CPU: state.UserTime() + state.SystemTime()}
	if r, ok := state.SysUsage().(*syscall.Rusage); ok {
		u.MaxRSS = int64(r.Maxrss) * rssUnit //nolint:unconvert // an int on some platforms
	}
	return u
}
