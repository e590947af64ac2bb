package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// wire listens to what is said on the acknowledgement subjects of job j.
func (b *bundle) wire(id string) func() string {
	b.t.Helper()
	nc, _ := b.raw()
	sub, err := nc.SubscribeSync("$JS.ACK.>")
	if err != nil {
		b.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		b.t.Fatal(err)
	}
	return func() string {
		b.t.Helper()
		for {
			m, err := sub.NextMsg(5 * time.Second)
			if err != nil {
				b.t.Fatal(err)
			}
			if strings.Contains(m.Subject, ".job-"+id+".") {
				return string(m.Data)
			}
		}
	}
}

func TestEachVerdictHasItsAcknowledgement(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: 5 * time.Second})
		said := b.wire("j")
		boom := errors.New("no such\n column")

		b.publish("j", 1)
		b.settle(b.next(p), job.Verdict{Kind: job.VerdictDone})
		if w := said(); w != "+ACK" {
			t.Errorf("done says %q", w)
		}
		b.backlog("j", 0, 0)

		// Retry: comes again after the delay, neither at once nor with the lease.
		b.publish("j", 1)
		start := time.Now()
		b.settle(b.next(p), job.Verdict{Kind: job.VerdictRetry, After: 600 * time.Millisecond, Err: boom})
		if w := said(); w != `-NAK {"delay": 600000000}` {
			t.Errorf("retry says %q", w)
		}
		d := b.next(p)
		if took := time.Since(start); took < 550*time.Millisecond || took > 3*time.Second+busy || d.Attempt() != 2 {
			t.Errorf("attempt %d after %v", d.Attempt(), took)
		}
		b.settle(d, job.Verdict{Kind: job.VerdictSlowDown, Err: boom})
		if w := said(); w != `-NAK {"delay": 1000000000}` {
			t.Errorf("slow down says %q", w)
		}
		d = b.next(p)

		// Draining: at once to another.
		start = time.Now()
		b.settle(d, job.Verdict{Kind: job.VerdictDraining})
		if w := said(); w != "-NAK" {
			t.Errorf("draining says %q", w)
		}
		d = b.next(b.puller(b.connect(), "j"))
		if took := time.Since(start); took > 2*time.Second || d.Attempt() != 4 {
			t.Errorf("attempt %d after %v", d.Attempt(), took)
		}

		// Dead: gone from the stream, and NATS knows why.
		nc, _ := b.raw()
		advisories, err := nc.SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.DRAY_WORK.job-j")
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		b.settle(d, job.Verdict{Kind: job.VerdictDead, Err: boom})
		if w := said(); w != "+TERM no such column" {
			t.Errorf("dead says %q", w)
		}
		b.backlog("j", 0, 0)
		if err := b.q.PublishChunk(ctx(t), chunk("j", 0)); err != nil {
			t.Errorf("the stream still holds the chunk: %v", err)
		}
		m, err := advisories.NextMsg(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var advisory struct{ Reason string }
		if err := json.Unmarshal(m.Data, &advisory); err != nil || advisory.Reason != "no such column" {
			t.Errorf("advisory %s", m.Data)
		}

		// Once and no more.
		want(t, d.Settle(ctx(t), job.Verdict{Kind: job.VerdictDone}), queue.ErrSettled)
	})
}

func TestAStaleChunkIsTakenOut(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: 20 * time.Second})
		said := b.wire("j")
		b.publish("j", 4)
		first, second, third, fourth := b.next(p), b.next(p), b.next(p), b.next(p)
		b.settle(first, job.Verdict{Kind: job.VerdictStale, Err: job.ErrCancelled})
		if w := said(); w != "+TERM job was cancelled" {
			t.Errorf("stale says %q", w)
		}
		b.settle(second, job.Verdict{Kind: job.VerdictStale})
		if w := said(); w != "+TERM stale" {
			t.Errorf("stale without a reason says %q", w)
		}
		b.backlog("j", 0, 2)
		if n, err := b.q.CountDead(ctx(t), "j"); n != 0 || err != nil {
			t.Errorf("%d dead letters, %v", n, err)
		}

		// Repeated until it is answered.
		b.server.Stop()
		answer := make(chan error, 1)
		go func() { answer <- third.Settle(ctx(t), job.Verdict{Kind: job.VerdictStale}) }()
		if err := b.server.Start(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if err := <-answer; err != nil {
			t.Fatal(err)
		}
		b.backlog("j", 0, 1)

		// The usual end of a cancelled job: its queue is gone already.
		if err := b.q.CloseJob(ctx(t), "j"); err != nil {
			t.Fatal(err)
		}
		b.settle(fourth, job.Verdict{Kind: job.VerdictStale, Err: job.ErrCancelled})
	})
}

func TestSlowDownAndDrainingDoNotCountAsAttempts(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: 10 * time.Second})
		b.publish("j", 1)
		counts := func(d *queue.Delivery, attempt, excused int) {
			t.Helper()
			n, err := d.Excused(ctx(t))
			if err != nil || d.Attempt() != attempt || n != excused {
				t.Errorf("attempt %d, excused %d, %v; wanted %d, %d", d.Attempt(), n, err, attempt, excused)
			}
		}
		const soon = time.Millisecond
		d := b.next(p)
		counts(d, 1, 0)
		b.settle(d, job.Verdict{Kind: job.VerdictSlowDown, After: soon})
		d = b.next(p)
		counts(d, 2, 1)
		b.settle(d, job.Verdict{Kind: job.VerdictRetry, After: soon})
		d = b.next(p)
		counts(d, 3, 1)
		dead, cancel := context.WithCancel(ctx(t))
		cancel()
		if err := d.Settle(dead, job.Verdict{Kind: job.VerdictDraining}); err != nil {
			t.Fatal(err)
		}
		d = b.next(p)
		counts(d, 4, 2)
		// A job that is closed and opened again starts anew.
		if err := b.q.CloseJob(ctx(t), "j"); err != nil {
			t.Fatal(err)
		}
		p = b.open("j", queue.JobQueue{})
		b.publish("j", 1)
		b.settle(b.next(p), job.Verdict{Kind: job.VerdictRetry, After: soon})
		counts(b.next(p), 2, 0)
	})
}

func TestALostLeaseSaysNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: time.Second})
		b.publish("j", 1)
		nc, _ := b.raw()
		sub, err := nc.SubscribeSync("$JS.ACK.DRAY_WORK.job-j.>")
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		d := b.next(p)
		held, lease := d.Hold(ctx(t))
		defer lease.Stop()
		<-held.Done()
		b.settle(d, job.Judge(held, errors.New("interrupted"), time.Second))
		again := b.next(p)
		if again.Attempt() != 2 {
			t.Errorf("attempt %d", again.Attempt())
		}
		if m, err := sub.NextMsg(10 * time.Millisecond); err == nil {
			t.Errorf("said %q", m.Data)
		}
	})
}

func TestALateNakDoesNotHitTheNextHolder(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: time.Second})
		other := b.puller(b.connect(), "j")
		b.publish("j", 3)
		var late []*queue.Delivery
		for range 3 {
			late = append(late, b.next(p))
		}
		held, lease := late[0].Hold(ctx(t))
		defer lease.Stop()
		<-held.Done()
		for range 3 {
			d := b.next(other)
			_, lease := d.Hold(ctx(t))
			defer lease.Stop()
		}
		for n, kind := range []job.VerdictKind{job.VerdictRetry, job.VerdictSlowDown, job.VerdictDraining} {
			want(t, late[n].Settle(ctx(t), job.Verdict{Kind: kind, After: time.Millisecond}), job.ErrLeaseLost)
		}
		_, err := p.Next(ctx(t), 200*time.Millisecond)
		want(t, err, queue.ErrEmpty)
	})
}

func TestNakIsSaidEvenWhenTheContextHasEnded(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: 20 * time.Second})
		b.publish("j", 1)
		d := b.next(p)
		c, cancel := context.WithCancel(ctx(t))
		cancel()
		if err := d.Settle(c, job.Verdict{Kind: job.VerdictDraining}); err != nil {
			t.Error(err)
		}
		if d := b.next(p); d.Attempt() != 2 {
			t.Errorf("attempt %d", d.Attempt())
		}
	})
}

func TestAckIsRepeatedUntilAnsweredAcrossARestart(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: 20 * time.Second})
		b.publish("j", 2)
		done, dead := b.next(p), b.next(p)
		b.server.Stop()
		answers := make(chan error, 2)
		go func() { answers <- done.Settle(ctx(t), job.Verdict{Kind: job.VerdictDone}) }()
		go func() { answers <- dead.Settle(ctx(t), job.Verdict{Kind: job.VerdictDead}) }()
		select {
		case err := <-answers:
			t.Fatalf("answered by nobody: %v", err)
		case <-time.After(200 * time.Millisecond):
		}
		if err := b.server.Start(ctx(t)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := <-answers; err != nil {
				t.Fatal(err)
			}
		}
		b.backlog("j", 0, 0)
		if _, err := p.Next(ctx(t), 50*time.Millisecond); !errors.Is(err, queue.ErrEmpty) {
			t.Errorf("delivered again: %v", err)
		}
	})
}

func TestLeaseIsRenewedOnProgressAndOnlyThen(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		const length = 1500 * time.Millisecond
		p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: length})
		other := b.puller(b.connect(), "j")
		b.publish("j", 1)
		d := b.next(p)
		start := time.Now()
		held, lease := d.Hold(ctx(t))
		defer lease.Stop()
		if c2, l2 := d.Hold(ctx(t)); c2 != held || l2 != lease {
			t.Error("a second Hold is another lease")
		}

		// As long as it moves, twice the lease and more, nobody else gets it.
		renewals, until := 0, lease.Deadline()
		for renewals < 5 {
			lease.Progress()
			select {
			case <-held.Done():
				t.Fatalf("lost after %v with %d renewals: %v", time.Since(start), renewals, context.Cause(held))
			case <-time.After(20 * time.Millisecond):
			}
			if at := lease.Deadline(); at.After(until) {
				renewals, until = renewals+1, at
			}
		}
		moved := time.Now()
		if moved.Sub(start) < 2*length*9/10-length/2 {
			t.Errorf("5 renewals within %v: too often", moved.Sub(start))
		}
		_, err := other.Next(ctx(t), 0)
		want(t, err, queue.ErrEmpty)

		// It hangs: the context says so before the server gives it to another.
		deadline := lease.Deadline()
		again := b.next(other)
		if held.Err() == nil {
			t.Error("redelivered while the holder believes in its lease")
		}
		if !errors.Is(context.Cause(held), job.ErrLeaseLost) || !lease.Lost() || again.Attempt() != 2 {
			t.Errorf("cause %v, lost %v, attempt %d", context.Cause(held), lease.Lost(), again.Attempt())
		}
		if early := time.Until(deadline); early > 0 {
			t.Errorf("lost %v before its deadline", early)
		}
	})
}

func TestLeaseOutlivesNoServer(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: time.Second})
		b.publish("j", 1)
		d := b.next(p)
		held, lease := d.Hold(ctx(t))
		defer lease.Stop()
		b.server.Stop()
		start, until := time.Now(), lease.Deadline()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for held.Err() == nil && time.Since(start) < 10*time.Second {
			lease.Progress() // which nobody hears
			select {
			case <-held.Done():
			case <-tick.C:
			}
		}
		if !errors.Is(context.Cause(held), job.ErrLeaseLost) || !lease.Deadline().Equal(until) {
			t.Errorf("cause %v, the deadline was %v and is %v", context.Cause(held), until, lease.Deadline())
		}
		if took := time.Since(start); took > 1500*time.Millisecond {
			t.Errorf("noticed after %v", took)
		}
	})
}

func TestSettleEndsRenewalsAndStopEndsTheContext(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		p := b.open("j", queue.JobQueue{MaxInFlight: 10, Lease: time.Second})
		b.publish("j", 1)
		d := b.next(p)
		held, lease := d.Hold(ctx(t))
		lease.Progress()
		// The attempt's own context is good enough for its settlement.
		if err := d.Settle(held, job.Verdict{Kind: job.VerdictDone}); err != nil {
			t.Fatal(err)
		}
		if held.Err() != nil {
			t.Errorf("Settle cancelled the attempt: %v", context.Cause(held))
		}
		lease.Stop()
		lease.Stop()
		if !errors.Is(context.Cause(held), context.Canceled) || lease.Lost() {
			t.Errorf("cause %v", context.Cause(held))
		}
	})
}

func TestRawAckProtocolIsWhatNatsGoSays(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		// nats.go's own client, beside us, writes the same words.
		b.open("j", queue.JobQueue{MaxInFlight: 10})
		b.publish("j", 1)
		said := b.wire("j")
		_, js := b.raw()
		c, err := js.Consumer(ctx(t), "DRAY_WORK", "job-j")
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(m.InProgress(), m.NakWithDelay(600*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if w := said(); w != "+WPI" {
			t.Errorf("progress is %q", w)
		}
		if w := said(); w != `-NAK {"delay": 600000000}` {
			t.Errorf("nak is %q", w)
		}
	})
}
