package engine

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"drayage/pkg/job"
)

// ErrEnded is the error of a statement whose engine ended in the middle of it: it
// crashed, or it was killed. Such an error is a job.Retry.
var ErrEnded = errors.New("the engine ended")

// ErrCrashed is an ErrEnded too, of an engine that was ended by a fault of its
// own, such as a read of memory that is not there. What ends a healthy engine is
// not: a kill, which is also what the system does to a process when memory is
// short.
var ErrCrashed = errors.New("the engine crashed")

// endError says how an engine ended.
type endError struct {
	kind error // ErrEnded or ErrCrashed
	err  error
}

func (e *endError) Error() string { return fmt.Sprintf("%v: %v", e.kind, e.err) }
func (e *endError) Unwrap() error { return e.err }

// Is tells errors.Is of both kinds.
func (e *endError) Is(target error) bool { return target == e.kind || target == ErrEnded }

// life is the time of one child.
type life struct {
	over chan struct{} // closed when it has ended
	why  error         // once over is closed
}

// reaped is how long after a connection to the engine broke its end is looked
// for. The system closes the connections of a process before it tells its parent.
const reaped = 2 * time.Second

// fate is the end of the child in whose life a connection broke; nil when it
// lives, or is not this process's own.
func (l *life) fate(ctx context.Context) error {
	if l == nil {
		return nil
	}
	timer := time.NewTimer(reaped)
	defer timer.Stop()
	select {
	case <-l.over:
		return job.WithClass(l.why, job.Retry)
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// end is why a child ended, of what waiting for it returned.
func end(err error) error {
	if err == nil {
		return &endError{ErrEnded, errors.New("it ended by itself")}
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			switch status.Signal() { //nolint:exhaustive // the others are faults
			case syscall.SIGKILL:
				return &endError{ErrEnded, fmt.Errorf("%w (by somebody, or by the system because memory was short)", err)}
			case syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP:
				return &endError{ErrEnded, err}
			}
		}
	}
	return &endError{ErrCrashed, err}
}

// everything is the whole of the gate through which Guard goes.
const everything = 1 << 30

// Guard runs do, whose statements share the engine with all others. When the
// engine ends meanwhile, its other users fail with the one that brought it down,
// and nobody can tell which that was. So do is called a second time, then with no
// other Guard beside it, and need not suffer from what others do; an engine that
// crashes again does so for what do has it read, and the error is a job.Permanent.
//
// Between the two calls Guard waits for those that are at work to return. Calls of
// Guard must not be nested. It returns the cause of ctx when that ends before do
// is called, and else what the last call of do returned.
func (p *Process) Guard(ctx context.Context, do func() error) error {
	err := p.enter(ctx, 1, do)
	if !errors.Is(err, ErrEnded) || ctx.Err() != nil {
		return err
	}
	p.cfg.Log.Debug().Err(err).Msg("what failed with the engine is tried with nothing beside it")
	err = p.enter(ctx, everything, do)
	if errors.Is(err, ErrCrashed) {
		err = job.WithClass(fmt.Errorf("%w; it crashed twice, the second time with nothing else at work in it, so the input or the SQL is the cause: look whether the input is damaged", err), job.Permanent)
	}
	return err
}

// enter calls do with a part of the gate in its hands.
func (p *Process) enter(ctx context.Context, part int64, do func() error) error {
	if err := p.gate.Acquire(ctx, part); err != nil {
		return fmt.Errorf("waiting for the engine: %w", context.Cause(ctx))
	}
	defer p.gate.Release(part)
	return do()
}
