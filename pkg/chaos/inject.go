package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// injection is a fault with its target: what it must have for itself, and how
// it is done. run breaks, waits and heals; it is false when there was nothing
// to break.
type injection struct {
	target string
	how    string
	needs  []string
	run    func(context.Context) bool
}

// What faults have for themselves, beside the member they are about. No two
// faults are at NATS at once, so that two of its servers always form a quorum.
const (
	theNATS       = "nats"
	theClickHouse = "clickhouse"
	theStream     = "stream"
)

// recovery bounds the wait for something that was broken to be well again
// before something else of its sort is broken.
const recovery = time.Minute

// injection finds the fault its target.
func (n *nemesis) injection(f fault) injection {
	switch f.kind {
	case KillWorker, KillCoordinator, DrainWorker:
		m := n.member(f)
		return injection{m.name, "", []string{m.name}, func(ctx context.Context) bool {
			if f.kind == DrainWorker {
				m.end(syscall.SIGTERM, recovery)
			} else {
				m.end(syscall.SIGKILL, 0)
			}
			if m.change() {
				n.changed.Add(1)
			}
			wait(ctx, f.lasts)
			m.up()
			return true
		}}
	case KillNATS, StopNATS, CutNATS:
		return n.atNATS(f)
	case KillClickHouse, StopClickHouse:
		return n.atClickHouse(f)
	case KillEngine, StopEngine:
		return n.atEngine(f)
	case StopWorker, StopCoordinator:
		m, how := n.member(f), ""
		if f.whole {
			how = " and its engine"
		}
		return injection{m.name, how, []string{m.name}, func(ctx context.Context) bool { return stop(ctx, m.process, f) }}
	case CutWorkerNATS, CutCoordinatorNATS:
		m := n.member(f)
		return injection{m.name, ", " + f.cut.String(), []string{m.name}, func(ctx context.Context) bool {
			return breakWires(ctx, f, m.nats...)
		}}
	case CutShard:
		i := f.pick % len(n.f.shards)
		s := n.f.shards[i]
		return injection{s.name, ", " + f.cut.String(), []string{s.name}, func(ctx context.Context) bool {
			return breakWires(ctx, f, s.wire)
		}}
	case CutWorkerClickHouse, CutCoordinatorClickHouse:
		m := n.member(f)
		return injection{m.name, ", " + f.cut.String(), []string{m.name}, func(ctx context.Context) bool {
			return breakWires(ctx, f, m.http)
		}}
	case DropAnswer, CutBody, Refuse:
		return n.atInserts(f)
	case Latency:
		all := n.f.members
		m := all[f.pick%len(all)]
		return injection{m.name, "", []string{m.name}, func(ctx context.Context) bool {
			for _, w := range append(m.nats, m.http) {
				w.slow(time.Duration(20+f.pick%80) * time.Millisecond)
				defer w.heal()
			}
			wait(ctx, f.lasts)
			return true
		}}
	case FillStream:
		return injection{"DRAY_WORK", "", []string{theStream}, func(ctx context.Context) bool { return n.fill(ctx, f) }}
	case PauseJob:
		return n.pauseJob(f)
	default:
		return n.everything(f)
	}
}

// member is a member of the role that the kind is about.
func (n *nemesis) member(f fault) *member {
	role := worker
	switch f.kind {
	case KillCoordinator, StopCoordinator, CutCoordinatorNATS, CutCoordinatorClickHouse:
		role = coordinator
	}
	all := n.f.of(role)
	return all[f.pick%len(all)]
}

// stop stops a process, and its children where the fault says so, and
// continues it.
func stop(ctx context.Context, p *process, f fault) bool {
	var also []int
	if f.whole {
		also = children(p.pid())
	}
	p.signal(syscall.SIGSTOP)
	for _, pid := range also {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	p.note("stopped")
	wait(ctx, f.lasts)
	for _, pid := range also {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	p.signal(syscall.SIGCONT)
	p.note("continued")
	return true
}

// breakWires breaks connections in the way of the fault.
func breakWires(ctx context.Context, f fault, wires ...*wire) bool {
	each := func(do func(*wire)) {
		for _, w := range wires {
			do(w)
		}
	}
	defer each((*wire).heal)
	switch f.cut {
	case bothWays:
		each(func(w *wire) { w.cut(true, true) })
	case toServer:
		each(func(w *wire) { w.cut(true, false) })
	case fromServer:
		each(func(w *wire) { w.cut(false, true) })
	case severed:
		each((*wire).sever)
	default:
		for end := time.Now().Add(f.lasts); time.Now().Before(end) && ctx.Err() == nil; {
			each((*wire).sever)
			wait(ctx, 150*time.Millisecond)
			each((*wire).heal)
			wait(ctx, 250*time.Millisecond)
		}
		return true
	}
	wait(ctx, f.lasts)
	return true
}

func (n *nemesis) atNATS(f fault) injection {
	at := f.pick % len(n.f.nodes)
	node := n.f.nodes[at]
	i := injection{target: node.name, needs: []string{theNATS}}
	broken := func(ctx context.Context) bool {
		f.whole = false
		return stop(ctx, node.process, f)
	}
	switch f.kind {
	case KillNATS:
		broken = func(ctx context.Context) bool {
			node.end(syscall.SIGKILL, 0)
			wait(ctx, f.lasts)
			node.up()
			return true
		}
	case CutNATS:
		i.how = ", " + f.cut.String()
		broken = func(ctx context.Context) bool {
			var wires []*wire
			for ends, w := range n.f.routes {
				if ends[0] == at || ends[1] == at {
					wires = append(wires, w)
				}
			}
			return breakWires(ctx, f, wires...)
		}
	}
	i.run = func(ctx context.Context) bool {
		done := broken(ctx)
		n.recover(ctx, "NATS is healthy", n.f.natsHealthy)
		return done
	}
	return i
}

func (n *nemesis) recover(ctx context.Context, what string, ok func(context.Context) error) {
	if err := eventually(ctx, recovery, what, ok); err != nil && ctx.Err() == nil {
		n.log("going on, although %v", err)
	}
}

func (n *nemesis) atClickHouse(f fault) injection {
	p, ping := n.f.clickhouse, n.f.sql.Ping
	if i := f.pick % (1 + len(n.f.shards)); i > 0 {
		s := n.f.shards[i-1]
		p, ping = s.process, s.sql.Ping
	}
	return injection{p.name, "", []string{theClickHouse}, func(ctx context.Context) bool {
		if f.kind == KillClickHouse {
			p.end(syscall.SIGKILL, 0)
			wait(ctx, f.lasts)
			p.up()
		} else {
			f.whole = false
			stop(ctx, p, f)
		}
		n.recover(ctx, p.name+" answers", ping)
		return true
	}}
}

func (n *nemesis) atEngine(f fault) injection {
	m := n.f.members[f.pick%len(n.f.members)]
	return injection{m.name, "", []string{m.name}, func(ctx context.Context) bool {
		pids := children(m.pid())
		if len(pids) == 0 {
			return false
		}
		if f.kind == KillEngine {
			return syscall.Kill(pids[0], syscall.SIGKILL) == nil
		}
		_ = syscall.Kill(pids[0], syscall.SIGSTOP)
		wait(ctx, f.lasts)
		_ = syscall.Kill(pids[0], syscall.SIGCONT)
		return true
	}}
}

// atInserts spoils some inserts of one worker, as they come.
func (n *nemesis) atInserts(f fault) injection {
	t := map[Kind]trick{DropAnswer: dropAnswer, CutBody: cutBody, Refuse: refuse503}[f.kind]
	workers := n.f.of(worker)
	m := workers[f.pick%len(workers)]
	return injection{m.name, fmt.Sprintf(", %d inserts", f.amount), []string{m.name}, func(ctx context.Context) bool {
		before := m.gate.counts()[t]
		m.gate.play(t, f.amount)
		defer m.gate.play(honest, 0)
		for range 50 {
			wait(ctx, 100*time.Millisecond)
			if m.gate.counts()[t]-before >= f.amount {
				break
			}
		}
		return m.gate.counts()[t] > before
	}}
}

// filler is the job in whose name the stream is filled. There is no record of
// it, so nobody takes its chunks.
const filler = "chaos-filler"

// fill fills the stream of chunks to its bound, waits, and empties it again.
func (n *nemesis) fill(ctx context.Context, f fault) bool {
	filling, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	full := false
	for i := range uint64(2 * workMessages) {
		err := n.f.queue.PublishChunk(filling, job.Chunk{Job: filler, Ordinal: i, Input: json.RawMessage("{}")})
		if errors.Is(err, queue.ErrFull) {
			full = true
			break
		}
		if err != nil && !errors.Is(err, queue.ErrExists) {
			break
		}
	}
	if full {
		wait(ctx, f.lasts)
	}
	clearing, cancelClearing := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancelClearing()
	err := eventually(clearing, startTimeout, "the filler is gone", func(ctx context.Context) error { return n.f.queue.CloseJob(ctx, filler) })
	if err != nil {
		n.log("could not empty the stream: %v", err)
	}
	return full
}

// pauseJob pauses a job that runs, and lets it go on.
func (n *nemesis) pauseJob(f fault) injection {
	running := n.jobs()
	if len(running) == 0 {
		return injection{target: "no job", run: func(context.Context) bool { return false }}
	}
	id := running[f.pick%len(running)]
	return injection{id, "", []string{"job " + id}, func(ctx context.Context) bool {
		out, err := n.f.dray(ctx, "pause", id)
		if err != nil { // it may be paused all the same, and the answer was lost
			n.log("%s is not paused: %v: %s", id, err, out)
		}
		wait(ctx, f.lasts)
		// A job that runs may be resumed, too: so it goes on in any case.
		resumed := eventually(context.WithoutCancel(ctx), startTimeout, "the job goes on", func(ctx context.Context) error {
			out, err := n.f.dray(ctx, "resume", id)
			if err == nil {
				return nil
			}
			if j, _, err := n.f.queue.Job(ctx, id); err == nil && j.State.Terminal() {
				return nil
			}
			return fmt.Errorf("%w: %s", err, out)
		})
		if resumed != nil {
			n.log("%s does not go on: %v", id, resumed)
		}
		return err == nil
	}}
}

// everything kills every process at once and starts all of them again.
func (n *nemesis) everything(f fault) injection {
	needs := []string{theNATS, theClickHouse, theStream}
	for _, m := range n.f.members {
		needs = append(needs, m.name)
	}
	return injection{"every process", "", needs, func(ctx context.Context) bool {
		all := n.f.processes()
		ended := make(chan struct{})
		for _, p := range all {
			go func() { p.end(syscall.SIGKILL, 0); ended <- struct{}{} }()
		}
		for range all {
			<-ended
		}
		wait(ctx, f.lasts)
		for _, p := range all {
			p.up()
		}
		n.recover(ctx, "NATS is healthy", n.f.natsHealthy)
		n.recover(ctx, "ClickHouse answers", n.f.sql.Ping)
		for _, s := range n.f.shards {
			n.recover(ctx, s.name+" answers", s.sql.Ping)
		}
		return true
	}}
}
