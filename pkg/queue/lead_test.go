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

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func (b *bundle) lead(q *queue.Queue, holder string, ttl time.Duration) *queue.Leadership {
	b.t.Helper()
	l, err := q.Lead(ctx(b.t), queue.LeadConfig{Name: "jobs", Holder: holder, TTL: ttl})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(l.Release)
	return l
}

// standby waits for the lead in the background and tells when it has it.
func (b *bundle) standby(q *queue.Queue, ttl time.Duration) <-chan *queue.Leadership {
	got := make(chan *queue.Leadership, 1)
	go func() {
		c, cancel := context.WithTimeout(context.Background(), 25*time.Second)
		b.t.Cleanup(cancel)
		l, err := q.Lead(c, queue.LeadConfig{Name: "jobs", Holder: "standby", TTL: ttl})
		if err != nil {
			if !errors.Is(err, context.Canceled) { // the test has ended
				b.t.Error(err)
			}
			close(got)
			return
		}
		b.t.Cleanup(l.Release)
		got <- l
	}()
	return got
}

// busy is what a machine that does much else may add to any time.
const busy = 5 * time.Second

func TestTheNextLeadsSoonAfterRelease(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		const ttl = 2 * time.Second
		first := b.lead(b.q, "a", ttl)
		next := b.standby(b.connect(), ttl)

		// Well beyond the TTL: it is renewed.
		select {
		case <-next:
			t.Fatal("two lead")
		case <-first.Context().Done():
			t.Fatal(context.Cause(first.Context()))
		case <-time.After(ttl + ttl/2):
		}
		if !first.Leading() {
			t.Error("not leading")
		}
		start := time.Now()
		first.Release()
		first.Release()
		if first.Leading() || !errors.Is(context.Cause(first.Context()), context.Canceled) {
			t.Errorf("leading after release, %v", context.Cause(first.Context()))
		}
		if l := <-next; l == nil || !l.Leading() {
			t.Error("nobody leads")
		}
		if took := time.Since(start); took > time.Second+busy {
			t.Errorf("the next one leads %v after the release", took)
		}
		// Another name is led beside it.
		other, err := b.q.Lead(ctx(t), queue.LeadConfig{Name: "else", TTL: ttl})
		if err != nil {
			t.Fatal(err)
		}
		other.Release()
	})
}

func TestTheNextLeadsWhenTheHolderIsGone(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		const ttl = 2 * time.Second
		q := b.connect()
		first := b.lead(q, "a", ttl)
		next := b.standby(b.connect(), ttl)
		start := time.Now()
		q.Close() // its renewals go nowhere, and it can not let go either
		<-first.Context().Done()
		if !errors.Is(context.Cause(first.Context()), queue.ErrLeadLost) || first.Leading() {
			t.Errorf("cause %v", context.Cause(first.Context()))
		}
		if took := time.Since(start); took > ttl+busy {
			t.Errorf("noticed after %v", took)
		}
		select {
		case <-next:
			t.Error("the next one leads before the first one knows")
		default:
		}
		if l := <-next; l == nil || !l.Leading() {
			t.Error("nobody leads")
		}
		if took := time.Since(start); took > ttl+time.Second+busy {
			t.Errorf("the next one leads after %v", took)
		}
		first.Release() // of no effect on the next one
		again := b.standby(b.q, ttl)
		select {
		case <-again:
			t.Error("a lost lead let go of the next one's")
		case <-time.After(600 * time.Millisecond):
		}
	})
}

func TestALeadSurvivesARestartAndEndsWithALongOutage(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		const ttl = 8 * time.Second
		l := b.lead(b.q, "a", ttl)
		if err := b.server.Restart(ctx(t)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-l.Context().Done():
			t.Fatalf("lost by a restart: %v", context.Cause(l.Context()))
		case <-time.After(ttl + ttl/4):
		}
		b.server.Stop()
		start := time.Now()
		<-l.Context().Done()
		if took := time.Since(start); took > ttl+busy || !errors.Is(context.Cause(l.Context()), queue.ErrLeadLost) {
			t.Errorf("after %v: %v", took, context.Cause(l.Context()))
		}
		next := b.standby(b.q, ttl)
		if err := b.server.Start(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if l := <-next; l == nil || !l.Leading() {
			t.Error("nobody leads")
		}
	})
}

func TestOneLeadsAtATime(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		const contenders, terms = 5, 3
		var leading, total atomic.Int32
		var wg sync.WaitGroup
		for n := range contenders {
			q := b.connect()
			wg.Go(func() {
				for range terms {
					l, err := q.Lead(ctx(t), queue.LeadConfig{Name: "jobs", Holder: fmt.Sprint(n), TTL: time.Second})
					if err != nil {
						t.Error(err)
						return
					}
					if now := leading.Add(1); now != 1 && l.Leading() {
						t.Errorf("%d lead", now)
					}
					total.Add(1)
					leading.Add(-1)
					l.Release()
				}
			})
		}
		wg.Wait()
		if total.Load() != contenders*terms {
			t.Errorf("%d terms", total.Load())
		}
	})
}

func TestLeadErr(t *testing.T) {
	t.Parallel()
	b := setup(t, "", nil)
	if err := b.q.Ensure(ctx(t)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []queue.LeadConfig{
		{Name: "", TTL: time.Second}, {Name: "a.b", TTL: time.Second}, {Name: strings.Repeat("x", 129), TTL: time.Second},
		{Name: "jobs"}, {Name: "jobs", TTL: time.Second - 1}, {Name: "jobs", TTL: 2 * time.Hour},
	} {
		_, err := b.q.Lead(ctx(t), bad)
		if !errors.Is(err, queue.ErrInvalid) || job.ClassOf(err) != job.Permanent {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	b.lead(b.q, "a", time.Minute)
	c, cancel := context.WithCancelCause(ctx(t))
	time.AfterFunc(100*time.Millisecond, func() { cancel(job.ErrDraining) })
	_, err := b.connect().Lead(c, queue.LeadConfig{Name: "jobs", TTL: time.Minute})
	want(t, err, job.ErrDraining)
	// The work's own end ends the lead.
	c, cancel = context.WithCancelCause(ctx(t))
	l, err := b.q.Lead(c, queue.LeadConfig{Name: "other", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	cancel(job.ErrDraining)
	if l.Leading() || !errors.Is(context.Cause(l.Context()), job.ErrDraining) {
		t.Errorf("%v", context.Cause(l.Context()))
	}
}
