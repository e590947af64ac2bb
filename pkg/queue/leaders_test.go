package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// Leaders of streams and of the consumer change in the middle of publications,
// pulls, results, acknowledgements, edits of the job and the coordinators' lead,
// and all that is promised still holds.
func TestThreeReplicasWhileLeadersChange(t *testing.T) {
	t.Parallel()
	servers, cfg, queues := replicated(t)
	q := queues[0]
	c, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := q.OpenJob(c, "j", queue.JobQueue{MaxInFlight: 8, Lease: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.CreateJob(c, job.Job{ID: "j", State: job.Running}); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()

	var wg sync.WaitGroup
	over := make(chan struct{})
	chaos := make(chan struct{})
	changes := 0
	go func() {
		defer close(chaos)
		for n := 0; ; n++ {
			what := []string{
				"STREAM.LEADER.STEPDOWN.DRAY_WORK", "CONSUMER.LEADER.STEPDOWN.DRAY_WORK.job-j",
				"STREAM.LEADER.STEPDOWN.DRAY_RESULTS", "STREAM.LEADER.STEPDOWN.KV_dray_jobs",
				"STREAM.LEADER.STEPDOWN.KV_dray_leases",
			}[n%5]
			if m, err := nc.Request("$JS.API."+what, nil, time.Second); err == nil && strings.Contains(string(m.Data), `"success":true`) {
				changes++
			}
			select {
			case <-over:
				return
			case <-time.After(300 * time.Millisecond):
			}
		}
	}()

	const chunks, edits = 25, 4
	wg.Go(func() {
		for n := range chunks {
			if err := queues[0].PublishChunk(c, chunk("j", n)); err != nil && !errors.Is(err, queue.ErrExists) {
				t.Error(err)
			}
		}
	})
	var mu sync.Mutex
	recorded := map[uint64]int{}
	var done atomic.Int32
	for who, q := range queues {
		var p *queue.Puller
		eventually(t, func() (err error) { p, err = q.Puller(c, "j"); return err })
		wg.Go(func() {
			for done.Load() < chunks && c.Err() == nil {
				d, err := p.Next(c, time.Second)
				if err != nil {
					if !errors.Is(err, queue.ErrEmpty) && !errors.Is(err, queue.ErrUnavailable) {
						t.Error(err)
					}
					continue
				}
				r := result("j", int(d.Chunk().Ordinal), fmt.Sprint("w", who))
				r.Attempt, r.StartedAt = d.Attempt(), time.Now().UTC() // no two alike
				switch err := q.RecordResult(c, r); {
				case err == nil:
					mu.Lock()
					recorded[r.Chunk]++
					mu.Unlock()
					done.Add(1)
				case !errors.Is(err, queue.ErrExists):
					t.Error(err)
				}
				if err := d.Settle(c, job.Verdict{Kind: job.VerdictDone}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for who, q := range queues[:2] {
		wg.Go(func() {
			for n := range edits {
				claim := fmt.Sprint(who, "-", n)
				_, err := q.EditJob(c, "j", func(j *job.Job) error {
					for _, c := range j.Claims {
						if c.Job == claim {
							return nil
						}
					}
					j.Claims = append(j.Claims, job.Claim{Job: claim})
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	var leading atomic.Int32
	for who, q := range queues[1:] {
		wg.Go(func() {
			for range 2 {
				l, err := q.Lead(c, queue.LeadConfig{Name: "jobs", Holder: fmt.Sprint(who), TTL: 4 * time.Second})
				if err != nil {
					t.Error(err)
					return
				}
				if n := leading.Add(1); n != 1 && l.Leading() {
					t.Errorf("%d lead", n)
				}
				select {
				case <-l.Context().Done():
				case <-time.After(1500 * time.Millisecond): // a renewal or so
				}
				leading.Add(-1)
				l.Release()
			}
		})
	}
	wg.Wait()
	close(over)
	<-chaos
	t.Logf("%d changes of leaders", changes)
	if changes < 5 {
		t.Errorf("%d changes of leaders: nothing was tested", changes)
	}

	if len(recorded) != chunks {
		t.Errorf("%d of %d chunks have a result", len(recorded), chunks)
	}
	for n, times := range recorded {
		if times != 1 {
			t.Errorf("chunk %d: %d results count", n, times)
		}
	}
	eventually(t, func() error {
		n, err := q.CountResults(c, "j")
		if err == nil && n != chunks {
			err = fmt.Errorf("%d results", n)
		}
		return err
	})
	eventually(t, func() error {
		j, _, err := q.Job(c, "j")
		if err == nil && len(j.Claims) != 2*edits {
			err = fmt.Errorf("%d of %d edits are in the record", len(j.Claims), 2*edits)
		}
		return err
	})

	// Answers that get lost, from a server that need not be the leader: each
	// update was written, and each is known to be ours.
	proxy := newCutProxy(t, strings.TrimPrefix(servers[1].ClientURL(), "nats://"))
	cfg.URL = "nats://" + proxy.address
	lost, err := queue.Connect(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lost.Close)
	_, rev, err := q.Job(c, "j")
	if err != nil {
		t.Fatal(err)
	}
	if rev, err = lost.UpdateJob(c, job.Job{ID: "j"}, rev); err != nil { // by now it is the last one
		t.Fatal(err)
	}
	for n := range 5 {
		proxy.arm(`"KV_dray_jobs"`)
		next, err := lost.UpdateJob(c, job.Job{ID: "j", Repairs: n}, rev)
		if err != nil || next <= rev {
			t.Fatalf("update %d from %d to %d: %v", n, rev, next, err)
		}
		rev = next
	}
	if proxy.count() != 5 {
		t.Errorf("%d answers were lost", proxy.count())
	}
}
