package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/pipeline"
)

// Wait says why a job does not go on, or not faster.
type Wait struct {
	Reason string `json:"reason"` // one of the Wait constants
	Detail string `json:"detail"` // for a person, with what to do about it
}

// Why a job waits.
const (
	WaitCoordinator = "coordinator" // nobody has begun with it yet
	WaitPlanning    = "planning"    // what it depends on is being found out
	WaitTrouble     = "trouble"     // a step fails, and is tried again
	WaitPaused      = "paused"
	WaitCancelling  = "cancelling"
	WaitNoWorkers   = "no_workers"   // no worker lives
	WaitNotBuiltIn  = "not_built_in" // no worker has a stage or kind of source that it needs
	WaitSlots       = "slots"        // every slot is in use, by other jobs too
	WaitSlowedDown  = "slowed_down"  // ClickHouse asked for it
	WaitLease       = "lease"        // every seat of limits.lease is taken
	WaitVerifying   = "verifying"    // ClickHouse is asked for its rows
)

// needs are what a job needs of the fleet.
type needs struct {
	trouble  *job.Waiting
	protocol int // that its workers must speak
	stages   []string
	source   string // a custom kind; empty: one of dray's own
	lease    pipeline.Lease
}

func needsOf(j job.Job) (n needs) {
	if j.State.Terminal() {
		return n
	}
	n.trouble, n.protocol = j.Waiting, j.Protocol
	if j.Frozen == nil {
		return n
	}
	p, err := pipeline.Frozen(j.Frozen.Pipeline)
	if err != nil {
		return n
	}
	for _, s := range p.Stages {
		n.stages = append(n.stages, s.Name)
	}
	if c := p.Source.Custom; c != nil {
		n.source = c.Kind
	}
	n.lease = p.Limits.Lease
	return n
}

// lateAfter is how long a step that is mostly over at once may take before it is
// told as what a job waits for.
const lateAfter = 3 * time.Second

// waits says why a job waits.
func (s *Service) waits(ctx context.Context, r JobRow, n needs) ([]Wait, error) {
	since := func(at time.Time) time.Duration { return time.Since(at).Round(time.Second) }
	if t := n.trouble; t != nil {
		return []Wait{{WaitTrouble, fmt.Sprintf("tried again for %s: %s", since(t.Since), t.Error)}}, nil
	}
	switch r.State {
	case job.Submitted:
		if late := since(r.CreatedAt); late >= lateAfter {
			return []Wait{{WaitCoordinator, fmt.Sprintf("no coordinator has begun with it for %s: see that one leads, in its log", late)}}, nil
		}
	case job.Planning:
		if late := since(r.StartedAt); late >= lateAfter {
			return []Wait{{WaitPlanning, fmt.Sprintf("its source, SQL and target have been looked at for %s; what fails meanwhile is in the log of the coordinator that leads", late)}}, nil
		}
	case job.Paused:
		return []Wait{{WaitPaused, "it was paused; resume it to go on"}}, nil
	case job.Cancelling:
		return []Wait{{WaitCancelling, "workers let go of its chunks, and INSERTs that still run are ended"}}, nil
	case job.Verifying:
		return []Wait{{WaitVerifying, "ClickHouse is asked whether it holds every row that was recorded"}}, nil
	case job.Running:
		return s.slowness(ctx, r, n)
	}
	return nil, nil
}

// slowness says why a running job is not faster.
func (s *Service) slowness(ctx context.Context, r JobRow, n needs) ([]Wait, error) {
	var all []Wait
	if r.InFlight > 0 {
		all = append(all, Wait{WaitSlowedDown, fmt.Sprintf("slowed down to %d chunks in flight because ClickHouse asked for it", r.InFlight)})
	}
	workers, err := s.workers.get(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the workers: %w", err)
	}
	if len(workers) == 0 {
		return append(all, Wait{WaitNoWorkers, "no worker lives; dray worker starts one"}), nil
	}
	able := slices.DeleteFunc(slices.Clone(workers), func(w job.Worker) bool { return len(lacks(w, n)) > 0 })
	if len(able) == 0 {
		return append(all, Wait{WaitNotBuiltIn, "no worker was built with " + strings.Join(lacks(workers[0], n), ", ") + "; start one that was"}), nil
	}
	slots, busy, mine := 0, 0, 0
	for _, w := range able {
		slots, busy = slots+w.Slots, busy+w.Busy
		for _, c := range w.Current {
			if strings.HasPrefix(c, r.ID+"/") {
				mine++
			}
		}
	}
	if busy >= slots && mine < busy {
		all = append(all, Wait{WaitSlots, fmt.Sprintf("all %d slots are in use, %d of them by this job; more workers make it faster", slots, mine)})
	}
	if n.lease.Seats == 0 {
		return all, nil
	}
	seats, err := s.seats.get(ctx)
	if err != nil {
		return nil, err
	}
	var holders []string
	for _, seat := range seats {
		if seat.Name == n.lease.Name {
			holders = append(holders, seat.Holder)
		}
	}
	if len(holders) >= n.lease.Seats {
		all = append(all, Wait{WaitLease, fmt.Sprintf("all %d seats of %s are taken, by %s", n.lease.Seats, n.lease.Name, strings.Join(slices.Compact(slices.Sorted(slices.Values(holders))), ", "))})
	}
	return all, nil
}

// lacks are the stages and the kind of source that a worker was built without,
// and the protocol that it is too old for.
func lacks(w job.Worker, n needs) (missing []string) {
	if n.protocol > max(w.Protocol, 1) {
		missing = append(missing, fmt.Sprintf("protocol %d", n.protocol))
	}
	for _, name := range n.stages {
		if !slices.Contains(w.Stages, name) {
			missing = append(missing, "the stage "+name)
		}
	}
	if n.source != "" && !slices.Contains(w.Sources, n.source) {
		missing = append(missing, "the source "+n.source)
	}
	return missing
}
