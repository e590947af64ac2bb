package queue_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// behind makes a connection that goes through a partition, whole as yet.
func (b *bundle) behind() (*queue.Queue, *partition) {
	b.t.Helper()
	p := newPartition(b.t, strings.TrimPrefix(b.server.URL(), "nats://"))
	cfg := b.cfg
	cfg.URL = "nats://" + p.address
	q, err := queue.Connect(ctx(b.t), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(q.Close)
	b.t.Cleanup(p.cut) // before Close, which would wait for an answer
	return q, p
}

var partitions = map[string][]int{
	"the server does not hear us": {toServer},
	"we do not hear the server":   {toClient},
	"neither hears the other":     {toServer, toClient},
}

func onPartitions(t *testing.T, test func(t *testing.T, b *bundle, directions []int)) {
	t.Helper()
	t.Parallel()
	for name, directions := range partitions {
		t.Run(name, func(t *testing.T) { test(t, onTCP(t), directions) })
	}
}

// No chunk stays undelivered for longer than a lease and a slice of a pull,
// whatever a worker that is cut off has asked for or was sent.
func TestAWorkerThatIsCutOffKeepsNoChunkFromOthers(t *testing.T) {
	onPartitions(t, func(t *testing.T, b *bundle, directions []int) {
		const lease, margin = time.Second, 1500 * time.Millisecond
		p := b.open("j", queue.JobQueue{MaxInFlight: 20, Lease: lease})
		q, net := b.behind()
		lost := b.puller(q, "j")
		c, cancel := context.WithCancel(ctx(t))
		var carried atomic.Int32
		var wg sync.WaitGroup
		defer wg.Wait()
		defer net.heal()
		defer cancel()
		wg.Go(func() {
			for c.Err() == nil {
				d, err := lost.Next(c, 10*time.Second)
				if err != nil {
					continue
				}
				if d.Settle(c, job.Verdict{Kind: job.VerdictDone}) == nil {
					carried.Add(1)
				}
			}
		})
		b.pullsWaiting("j", 1)
		net.drop(directions...)

		// Some come at once, some when its pull has been given up.
		for n := range 6 {
			published := time.Now()
			if err := b.q.PublishChunk(ctx(t), chunk("j", n)); err != nil {
				t.Fatal(err)
			}
			d := b.next(p)
			if took := time.Since(published); took > lease+time.Second+margin+busy {
				t.Errorf("chunk %d, attempt %d, came after %v", n, d.Attempt(), took)
			}
			if d.Attempt() > 2 {
				t.Errorf("chunk %d took attempt %d", n, d.Attempt())
			}
			b.settle(d, job.Verdict{Kind: job.VerdictDone})
			_, err := p.Next(ctx(t), 500*time.Millisecond)
			want(t, err, queue.ErrEmpty)
		}

		// It works again when it can.
		net.heal()
		before := carried.Load()
		if err := b.q.PublishChunk(ctx(t), chunk("j", 100)); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			if carried.Load() == before {
				return errors.New("it carries nothing")
			}
			return nil
		})
		b.backlog("j", 0, 0)
	})
}

// A worker that can speak and not hear would take one chunk after the other
// away from those who could carry them.
func TestADeafWorkerAsksOnce(t *testing.T) {
	b := onTCP(t)
	b.open("j", queue.JobQueue{MaxInFlight: 20, Lease: 20 * time.Second})
	q, net := b.behind()
	lost := b.puller(q, "j")
	nc, _ := b.raw()
	asked := 0
	sub, err := nc.SubscribeSync("$JS.API.CONSUMER.MSG.NEXT.DRAY_WORK.job-j")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := lost.Next(ctx(t), 6*time.Second)
		ended <- err
	}()
	if _, err := sub.NextMsg(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	net.drop(toClient)
	b.publish("j", 10)
	err = <-ended
	net.heal()
	want(t, err, queue.ErrUnavailable)
	for {
		if _, err := sub.NextMsg(10 * time.Millisecond); err != nil {
			break
		}
		asked++
	}
	if asked > 0 {
		t.Errorf("asked %d times more", asked)
	}
}

func TestAResultIsRecordedOnceAcrossAPartition(t *testing.T) {
	onPartitions(t, func(t *testing.T, b *bundle, directions []int) {
		q, net := b.behind()
		net.drop(directions...)
		mine := make(chan error, 1)
		go func() { mine <- q.RecordResult(ctx(t), result("j", 0, "cut off")) }()
		if directions[0] == toClient { // it is stored, and the writer does not know
			eventually(t, func() error { _, err := b.q.Result(ctx(t), "j", 0, 0); return err })
		}
		err := b.q.RecordResult(ctx(t), result("j", 0, "other"))
		net.cut() // what is on its way is lost, and has to be asked for again
		net.heal()
		switch directions[0] {
		case toClient:
			want(t, err, queue.ErrExists)
			if err := <-mine; err != nil {
				t.Errorf("its own result is not recognised: %v", err)
			}
		case toServer:
			if err != nil {
				t.Error(err)
			}
			want(t, <-mine, queue.ErrExists)
		}
		stored, err := b.q.Result(ctx(t), "j", 0, 0)
		if worker := map[int]string{toClient: "cut off", toServer: "other"}[directions[0]]; err != nil || stored.Worker != worker {
			t.Errorf("%+v, %v", stored, err)
		}
		if n, err := b.q.CountResults(ctx(t), "j"); n != 1 || err != nil {
			t.Errorf("%d results, %v", n, err)
		}
	})
}

func TestAnUpdateWithoutAnAnswerIsWorkedOut(t *testing.T) {
	onPartitions(t, func(t *testing.T, b *bundle, directions []int) {
		for _, id := range []string{"alone", "overtaken"} {
			rev, err := b.q.CreateJob(ctx(t), job.Job{ID: id, State: job.Submitted})
			if err != nil {
				t.Fatal(err)
			}
			q, net := b.behind()
			net.drop(directions...)
			type answer struct {
				rev queue.Revision
				err error
			}
			answers := make(chan answer, 1)
			go func() {
				rev, err := q.UpdateJob(ctx(t), job.Job{ID: id, State: job.Planning}, rev)
				answers <- answer{rev, err}
			}()
			arrives := directions[0] == toClient
			if arrives {
				eventually(t, func() error {
					j, _, err := b.q.Job(ctx(t), id)
					if err == nil && j.State != job.Planning {
						err = errors.New("not written yet")
					}
					return err
				})
			}
			if id == "overtaken" {
				if _, err := b.q.EditJob(ctx(t), id, func(j *job.Job) error { j.Error = "other"; return nil }); err != nil {
					t.Fatal(err)
				}
			}
			net.cut()
			net.heal()
			a := <-answers
			j, now, err := b.q.Job(ctx(t), id)
			if err != nil {
				t.Fatal(err)
			}
			if id == "overtaken" {
				want(t, a.err, queue.ErrConflict)
				if j.Error != "other" || (j.State == job.Planning) != arrives {
					t.Errorf("%+v", j)
				}
			} else if a.err != nil || a.rev != now || j.State != job.Planning {
				t.Errorf("revision %d of %d, %v, %+v", a.rev, now, a.err, j)
			}
		}
	})
}

func TestALeaderThatIsCutOffKnowsBeforeTheNextLeads(t *testing.T) {
	onPartitions(t, func(t *testing.T, b *bundle, directions []int) {
		const ttl = 2 * time.Second
		q, net := b.behind()
		first := b.lead(q, "a", ttl)
		next := b.standby(b.q, ttl)
		net.drop(directions...)
		start := time.Now()
		// Renewals that arrive and are not answered keep the next one away for
		// up to another TTL.
		if l := <-next; l == nil || !l.Leading() {
			t.Fatal("nobody leads")
		}
		if took := time.Since(start); took > 2*ttl+time.Second+busy {
			t.Errorf("the next one leads after %v", took)
		}
		if first.Context().Err() == nil {
			t.Error("the first one does not know yet")
		}
		if first.Leading() || !errors.Is(context.Cause(first.Context()), queue.ErrLeadLost) {
			t.Errorf("leading %v, cause %v", first.Leading(), context.Cause(first.Context()))
		}
		net.heal()
	})
}
