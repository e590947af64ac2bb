package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"drayage/pkg/job"
)

// The phases of an insert. Only the last two matter to the outcome.
const (
	phaseIdle   = iota // no byte of the request has left
	phaseSent          // the request is on its way, whole as far as we know
	phaseBroken        // writing it failed: the server can not have all of it
)

// insert is an INSERT of Native blocks on its way to the server, and what
// became of it.
type insert struct {
	statement   string
	settings    map[string]string
	queryID     string
	body        io.Reader
	length      int64
	rows        uint64 // in the body, 0 when that is not known
	compression string

	phase atomic.Int32
	// wrote is how many rows the server says it wrote, 0 when it does not say.
	// It is no proof that they are new: a deduplicated insert reports them too.
	wrote  atomic.Uint64
	mu     sync.Mutex
	failed error // of body
}

// judge settles the class of a failed insert.
func (s *insert) judge(err error) error {
	var x *Exception
	if errors.As(err, &x) {
		return err // an answer: the table of codes has decided
	}
	switch {
	case s.bodyErr() != nil:
		return job.WithClass(fmt.Errorf("%w: %w", err, s.bodyErr()), job.ClassOf(s.bodyErr()))
	case s.phase.Load() == phaseSent:
		return job.WithClass(fmt.Errorf("%w (the rows were sent, and may have been inserted)", err), job.Unknown)
	case s.phase.Load() == phaseBroken:
		return job.WithClass(err, job.Retry)
	}
	return err // nothing was sent: as fail has classified it
}

// guarded reads exactly the length of the body, remembers the body's own
// error, and lets a body that ends early fail. It gives out nothing any more
// once the context has ended: a sender that was stopped in the middle and goes
// on much later, when somebody else may have its work, must not finish.
type guarded struct {
	ctx    context.Context //nolint:containedctx // the request's, which a Read has no other way to
	insert *insert
	mu     sync.Mutex // held while the caller's body is read
	left   int64
	closed error // what every further Read gives
}

func (g *guarded) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed != nil:
		return 0, g.closed
	case g.left == 0:
		return 0, io.EOF
	case ended(g.ctx) != nil:
		return 0, g.fail(ended(g.ctx))
	}
	n, err := g.insert.body.Read(p[:min(int64(len(p)), g.left)])
	if over := ended(g.ctx); over != nil { // the Read may have taken long
		return 0, g.fail(over)
	}
	g.left -= int64(n)
	switch {
	case err == nil:
	case err != io.EOF: //nolint:errorlint // io.Reader's contract is the value itself
		return n, g.fail(err)
	case g.left > 0:
		return n, g.fail(fmt.Errorf("the body ended %d bytes early: %w", g.left, io.ErrUnexpectedEOF))
	}
	return n, nil
}

// fail remembers the body's error.
func (g *guarded) fail(err error) error {
	g.closed = err
	g.insert.mu.Lock()
	defer g.insert.mu.Unlock()
	g.insert.failed = err
	return err
}

// ended is why the context has ended, or nil. A deadline that has passed counts
// before its timer has fired: a process that was stopped runs on before its
// timers do.
func ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// Close does not close the caller's body.
func (g *guarded) Close() error { return nil }

// wait returns when no Read is in progress, and lets none follow.
func (g *guarded) wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = io.ErrClosedPipe
}

func (s *insert) bodyErr() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}
