package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

// TopologyError lists everything that is not as Drayage needs it. It is an
// ErrTopology.
type TopologyError struct {
	Mismatches []Mismatch
	// Cause is what NATS said when asked to change it, nil when it said yes
	// and did not do it.
	Cause error
}

func (e *TopologyError) Error() string {
	s := ErrTopology.Error()
	for i, m := range e.Mismatches {
		if i == 0 {
			s += ": "
		} else {
			s += "; "
		}
		s += m.String()
	}
	if e.Cause != nil {
		s += " (" + e.Cause.Error() + ")"
	}
	return s
}

// Unwrap makes it an ErrTopology and keeps the cause.
func (e *TopologyError) Unwrap() []error { return []error{ErrTopology, e.Cause} }

// Ensure makes every stream and bucket as topology.go and the configuration
// want them: creates what is missing, updates what differs, reads the server's
// values back and compares. What can not be changed (a foreign stream under
// our name, another retention) is a *TopologyError that names stream, field,
// wanted and found. It is idempotent; coordinators call it at their start.
func (q *Queue) Ensure(ctx context.Context) error {
	for _, want := range q.cfg.topology() {
		if err := q.ensureStream(ctx, want); err != nil {
			return err
		}
	}
	return nil
}

func (q *Queue) ensureStream(ctx context.Context, want jetstream.StreamConfig) error {
	what := "ensure stream " + want.Name
	found, err := q.streamConfig(ctx, want.Name)
	exists := err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if exists && len(differences(want, found, false)) == 0 {
		return nil
	}
	if exists {
		// Keep what is the operator's own: placement, description, metadata, …
		update := found
		overlay(&update, want)
		want = update
	}
	err = q.repeat(ctx, what, apiStream+want.Name, func(ctx context.Context) error {
		s, err := q.js.CreateOrUpdateStream(ctx, want)
		if err == nil {
			q.mu.Lock()
			q.streams[want.Name] = s
			q.mu.Unlock()
		}
		return err
	})
	if err != nil {
		if m := meaningOf(err); !errors.Is(err, ErrTopology) && m.is != nil {
			return err
		}
		var diff []Mismatch
		if exists {
			diff = differences(want, found, false)
		}
		return job.WithClass(fmt.Errorf("%s: %w", what, &TopologyError{diff, err}), job.Permanent)
	}
	got, err := q.streamConfig(ctx, want.Name)
	if err != nil {
		return err
	}
	if diff := differences(want, got, false); len(diff) > 0 {
		return job.WithClass(fmt.Errorf("%s: %w", what, &TopologyError{Mismatches: diff}), job.Permanent)
	}
	return nil
}

// overlay sets in dst the fields that are ours.
func overlay(dst *jetstream.StreamConfig, want jetstream.StreamConfig) {
	dst.Subjects, dst.Retention, dst.Storage, dst.Replicas = want.Subjects, want.Retention, want.Storage, want.Replicas
	dst.Discard, dst.DiscardNewPerSubject, dst.MaxMsgsPerSubject = want.Discard, want.DiscardNewPerSubject, want.MaxMsgsPerSubject
	dst.MaxConsumers, dst.MaxMsgs, dst.MaxBytes, dst.MaxAge, dst.MaxMsgSize = want.MaxConsumers, want.MaxMsgs, want.MaxBytes, want.MaxAge, want.MaxMsgSize
	dst.NoAck, dst.Sealed, dst.Mirror, dst.Sources, dst.SubjectTransform = want.NoAck, want.Sealed, want.Mirror, want.Sources, want.SubjectTransform
	dst.PersistMode, dst.AllowRollup, dst.AllowMsgTTL, dst.SubjectDeleteMarkerTTL = want.PersistMode, want.AllowRollup, want.AllowMsgTTL, want.SubjectDeleteMarkerTTL
	dst.DenyPurge, dst.DenyDelete, dst.Duplicates, dst.AllowDirect = want.DenyPurge, want.DenyDelete, want.Duplicates, want.AllowDirect
}

// streamConfig is what the server says now, never what we remember.
func (q *Queue) streamConfig(ctx context.Context, name string) (jetstream.StreamConfig, error) {
	var cfg jetstream.StreamConfig
	err := q.repeat(ctx, "stream "+name, apiStreamInfo+name, func(ctx context.Context) error {
		s, err := q.js.Stream(ctx, name)
		if err != nil {
			return err
		}
		cfg = s.CachedInfo().Config
		return nil
	})
	return cfg, err
}

// Check makes sure that a coordinator has made the streams, and that they keep
// the guarantees (limits may be anything). It waits for missing ones, at most
// Config.Timeout for all or until ctx ends: a worker may start before the first
// coordinator. It changes nothing.
func (q *Queue) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	for _, want := range q.cfg.topology() {
		missing := false // NATS has said so, whatever came of asking again
		for attempt := 1; ; attempt++ {
			got, err := q.streamConfig(ctx, want.Name)
			if err == nil {
				if diff := differences(want, got, true); len(diff) > 0 {
					return job.WithClass(fmt.Errorf("check streams: %w", &TopologyError{Mismatches: diff}), job.Permanent)
				}
				break
			}
			missing = missing || errors.Is(err, ErrNotFound)
			if !missing {
				return err
			}
			if !q.pause(ctx, attempt) {
				return fmt.Errorf("check streams on %s: %w: stream %s is missing; it is made by the coordinator, is one running on the same NATS account?", q.address, ErrNotFound, want.Name)
			}
		}
	}
	return nil
}
