package queue_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// What a process does that is stopped and goes on can only be seen in a
// process: this test binary, started again with DRAY_QUEUE_CHILD.

const childTTL = 2 * time.Second

// child is such a process. It tells what happens in lines, and ends with its
// standard input.
func child(mode string) int {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	cfg := queue.DefaultConfig()
	cfg.URL = os.Getenv("DRAY_QUEUE_URL")
	q, err := queue.Connect(ctx, cfg)
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	defer q.Close()
	switch mode {
	case "lead":
		err = childLead(ctx, q)
	case "pull":
		err = childPull(ctx, q)
	case "hold":
		err = childHold(ctx, q)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

// childLead leads, and says when it last believed to.
func childLead(ctx context.Context, q *queue.Queue) error {
	l, err := q.Lead(ctx, queue.LeadConfig{Name: "jobs", Holder: "child", TTL: childTTL})
	if err != nil {
		return err
	}
	fmt.Println("leads")
	for last := time.Now(); ; {
		now := time.Now() // before the look: what is done on its word begins later
		if !l.Leading() {
			fmt.Println("lost", last.UnixNano(), errors.Is(context.Cause(l.Context()), queue.ErrLeadLost))
			break
		}
		last = now
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
	l.Release()
	<-ctx.Done()
	return nil
}

// childPull carries chunks of job j.
func childPull(ctx context.Context, q *queue.Queue) error {
	p, err := q.Puller(ctx, "j")
	if err != nil {
		return err
	}
	fmt.Println("pulls")
	for ctx.Err() == nil {
		d, err := p.Next(ctx, 10*time.Second)
		if errors.Is(err, queue.ErrEmpty) {
			continue
		}
		if err != nil {
			return err
		}
		fmt.Println("got", d.Chunk().Ordinal, d.Attempt())
		if err := d.Settle(ctx, job.Verdict{Kind: job.VerdictDone}); err != nil {
			return err
		}
	}
	return nil
}

// childHold holds a chunk of job j as long as it can, then gives it back.
func childHold(ctx context.Context, q *queue.Queue) error {
	p, err := q.Puller(ctx, "j")
	if err != nil {
		return err
	}
	d, err := p.Next(ctx, 10*time.Second)
	if err != nil {
		return err
	}
	held, lease := d.Hold(ctx)
	fmt.Println("holds")
	for held.Err() == nil {
		lease.Progress()
		select {
		case <-time.After(time.Millisecond):
		case <-held.Done():
		}
	}
	cause := context.Cause(held)
	err = d.Settle(ctx, job.Verdict{Kind: job.VerdictRetry, After: time.Millisecond})
	fmt.Println("ended", errors.Is(cause, job.ErrLeaseLost), errors.Is(err, job.ErrLeaseLost))
	<-ctx.Done()
	return nil
}

type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
}

func (b *bundle) process(mode string) *process {
	b.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DRAY_QUEUE_CHILD="+mode, "DRAY_QUEUE_URL="+b.server.URL())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	p := &process{b.t, cmd, make(chan string, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		close(p.lines)
	}()
	b.t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill() // also of one that is stopped
		<-read
		_ = cmd.Wait()
	})
	return p
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// says waits for the process's next line.
func (p *process) says() string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.t.Fatal("the process has ended")
		}
		return line
	case <-time.After(15 * time.Second):
		p.t.Fatal("the process says nothing")
		return ""
	}
}

func onTCP(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	b := setup(t, "127.0.0.1:0", nil)
	if err := b.q.Ensure(ctx(t)); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestALeaderThatWasStoppedKnowsWhenItGoesOn(t *testing.T) {
	b := onTCP(t)
	p := b.process("lead")
	if line := p.says(); line != "leads" {
		t.Fatal(line)
	}
	next := b.standby(b.q, childTTL)
	p.signal(syscall.SIGSTOP)
	start := time.Now()
	l := <-next
	taken := time.Now()
	if took := taken.Sub(start); took > childTTL+time.Second+busy {
		t.Errorf("the next one leads after %v", took)
	}
	p.signal(syscall.SIGCONT)
	words := strings.Fields(p.says())
	if len(words) != 3 || words[0] != "lost" || words[2] != "true" {
		t.Fatalf("said %q", words)
	}
	last, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if late := time.Unix(0, last).Sub(taken); late > busy {
		t.Errorf("believed in its lead %v after it was another's", late)
	}
	if !l.Leading() {
		t.Error("the second leader lost it by the first one's return")
	}
}

func TestALeaderThatWasKilledIsFollowed(t *testing.T) {
	b := onTCP(t)
	p := b.process("lead")
	if line := p.says(); line != "leads" {
		t.Fatal(line)
	}
	next := b.standby(b.q, childTTL)
	p.signal(syscall.SIGKILL)
	start := time.Now()
	<-next
	if took := time.Since(start); took > childTTL+time.Second+busy {
		t.Errorf("the next one leads after %v", took)
	}
}

func TestAWorkerThatWasStoppedLosesItsChunk(t *testing.T) {
	b := onTCP(t)
	other := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: time.Second})
	b.publish("j", 1)
	p := b.process("hold")
	if line := p.says(); line != "holds" {
		t.Fatal(line)
	}
	p.signal(syscall.SIGSTOP)
	d := b.next(other)
	_, lease := d.Hold(ctx(t))
	defer lease.Stop()
	p.signal(syscall.SIGCONT)
	if line := p.says(); line != "ended true true" {
		t.Error(line)
	}
	// Its giving back did not take the chunk away from the other.
	lease.Progress()
	_, err := other.Next(ctx(t), 200*time.Millisecond)
	want(t, err, queue.ErrEmpty)
	b.settle(d, job.Verdict{Kind: job.VerdictDone})
}

func TestAChunkThatLayInAStoppedProcessIsLeftAlone(t *testing.T) {
	b := onTCP(t)
	other := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: time.Second})
	p := b.process("pull")
	if line := p.says(); line != "pulls" {
		t.Fatal(line)
	}
	for n := 0; ; n++ {
		b.pullsWaiting("j", 1)
		p.signal(syscall.SIGSTOP)
		if err := b.q.PublishChunk(ctx(t), chunk("j", n)); err != nil {
			t.Fatal(err)
		}
		d := b.next(other)
		if d.Chunk().Ordinal != uint64(n) {
			t.Fatalf("%+v", d.Chunk())
		}
		b.settle(d, job.Verdict{Kind: job.VerdictDone})
		p.signal(syscall.SIGCONT)
		if d.Attempt() == 2 { // the first was the stopped one's
			break
		} else if n == 10 {
			t.Fatal("never came while it was stopped")
		}
	}
	// It does not carry what was another's; it carries what comes now.
	if err := b.q.PublishChunk(ctx(t), chunk("j", 100)); err != nil {
		t.Fatal(err)
	}
	if line := p.says(); line != "got 100 1" {
		t.Error(line)
	}
}
