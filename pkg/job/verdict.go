package job

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Class says what an error means for the chunk that met it. Packages that talk
// to ClickHouse, NATS, the engine or a source classify their errors where they
// arise (WithClass); nobody classifies by an error's text.
type Class int

// The classes of error.
const (
	// Retry: try again later; the attempt counts. The class of an error that
	// nobody classified.
	Retry Class = iota
	// SlowDown: the destination is overloaded; try again later, and the
	// attempt does not count.
	SlowDown
	// Permanent: no attempt can succeed until a person changes something.
	Permanent
	// TooBig: the chunk takes more memory or time than there is; a smaller
	// one may not.
	TooBig
	// Unknown: the rows may or may not be in ClickHouse; look before
	// anything is inserted again. The token makes a repeated insert harmless.
	Unknown
)

func (c Class) String() string {
	return [...]string{"retry", "slow_down", "permanent", "too_big", "unknown_outcome"}[c]
}

type classified struct {
	err   error
	class Class
}

func (e *classified) Error() string { return e.err.Error() }
func (e *classified) Unwrap() error { return e.err }

// WithClass marks err as belonging to class. The outermost mark counts.
// It returns nil when err is nil.
func WithClass(err error, class Class) error {
	if err == nil {
		return nil
	}
	return &classified{err, class}
}

// Permanentf makes an error, as fmt.Errorf does, that no attempt cures.
func Permanentf(format string, args ...any) error {
	return WithClass(fmt.Errorf(format, args...), Permanent)
}

// Retryf makes an error, as fmt.Errorf does, that a later attempt may not meet.
func Retryf(format string, args ...any) error { return WithClass(fmt.Errorf(format, args...), Retry) }

// ClassOf returns the class of err: Permanent of a *RefusedError, the outermost
// mark, or Retry.
func ClassOf(err error) Class {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return Permanent
	}
	var c *classified
	if errors.As(err, &c) {
		return c.class
	}
	return Retry
}

// VerdictKind is what becomes of a delivered chunk.
type VerdictKind int

// The verdicts of the worker's stages.
const (
	VerdictDone      VerdictKind = iota // recorded; acknowledge until it is answered
	VerdictRetry                        // give back, to be delivered again after After
	VerdictSlowDown                     // as retry, but the attempt does not count
	VerdictDead                         // dead-lettered: take it out of the queue
	VerdictLeaseLost                    // the lease ended: somebody else has it, say nothing
	VerdictDraining                     // the worker stops: give back at once
	VerdictStale                        // its job was cancelled, or it was replaced: take it out of the queue
)

func (k VerdictKind) String() string {
	return [...]string{"done", "retry", "slow_down", "dead", "lease_lost", "draining", "stale"}[k]
}

// Verdict is the decision on one delivery of a chunk. The queue turns it into
// the one acknowledgement that fits.
type Verdict struct {
	Kind  VerdictKind
	After time.Duration // the delay of VerdictRetry and VerdictSlowDown
	Err   error         // why, nil for VerdictDone
}

// ErrLeaseLost is the cancellation cause of a chunk whose lease ended.
var ErrLeaseLost = errors.New("lease lost")

// ErrCancelled is the cancellation cause of a chunk whose job was cancelled or
// has ended.
var ErrCancelled = errors.New("job was cancelled")

// ErrDraining is the cancellation cause of a chunk whose worker stops.
var ErrDraining = errors.New("worker is draining")

// Judge turns the error of an attempt into a verdict. The context is the
// attempt's: when it was cancelled, its cause outranks err. Delay is the pause
// before the next delivery.
func Judge(ctx context.Context, err error, delay time.Duration) Verdict {
	if err == nil {
		return Verdict{Kind: VerdictDone}
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, ErrLeaseLost):
		return Verdict{Kind: VerdictLeaseLost, Err: err}
	case errors.Is(cause, ErrDraining):
		return Verdict{Kind: VerdictDraining, Err: err}
	case errors.Is(cause, ErrCancelled):
		return Verdict{Kind: VerdictStale, Err: err}
	}
	switch ClassOf(err) {
	case Permanent:
		return Verdict{Kind: VerdictDead, Err: err}
	case SlowDown:
		return Verdict{Kind: VerdictSlowDown, After: delay, Err: err}
	default:
		return Verdict{Kind: VerdictRetry, After: delay, Err: err}
	}
}
