package queue_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func TestEnsureMakesTheTopologyAndIsIdempotent(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		_, js := b.raw()
		read := func() map[string]jetstream.StreamConfig {
			all := map[string]jetstream.StreamConfig{}
			l := js.ListStreams(ctx(t))
			for s := range l.Info() {
				all[s.Config.Name] = s.Config
			}
			if l.Err() != nil {
				t.Fatal(l.Err())
			}
			return all
		}
		first := read()
		for _, name := range []string{"DRAY_JOBS", "DRAY_WORK", "DRAY_RESULTS", "DRAY_DEAD", "DRAY_EVENTS", "KV_dray_jobs", "KV_dray_workers", "KV_dray_leases", "KV_dray_state"} {
			if _, ok := first[name]; !ok {
				t.Errorf("%s is missing", name)
			}
		}
		w := first["DRAY_WORK"]
		if w.Retention != jetstream.WorkQueuePolicy || w.MaxMsgsPerSubject != 1 || w.Discard != jetstream.DiscardNew || !w.DiscardNewPerSubject || w.Storage != jetstream.FileStorage {
			t.Errorf("DRAY_WORK is %+v", w)
		}
		r := first["DRAY_RESULTS"]
		if r.Retention != jetstream.LimitsPolicy || r.MaxMsgsPerSubject != 1 || !r.DiscardNewPerSubject {
			t.Errorf("DRAY_RESULTS is %+v", r)
		}
		if err := b.connect().Ensure(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if err := b.q.Check(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if len(read()) != len(first) {
			t.Error("a second Ensure made more streams")
		}
		// nats.go's own KeyValue reads our buckets: they are ADR-8's.
		rev, err := b.q.CreateJob(ctx(t), job.Job{ID: "j", State: job.Submitted})
		if err != nil {
			t.Fatal(err)
		}
		kv, err := js.KeyValue(ctx(t), "dray_jobs")
		if err != nil {
			t.Fatal(err)
		}
		if e, err := kv.Get(ctx(t), "j"); err != nil || e.Revision() != uint64(rev) {
			t.Errorf("%v %v", e, err)
		}
		if err := b.q.DeleteJob(ctx(t), "j"); err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Get(ctx(t), "j"); !errors.Is(err, jetstream.ErrKeyNotFound) {
			t.Errorf("after DeleteJob: %v", err)
		}
	})
}

func TestEnsureUpdatesLimits(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		b.cfg.WorkMaxMsgs, b.cfg.EventsMaxAge = 77, time.Hour
		if err := b.connect().Ensure(ctx(t)); err != nil {
			t.Fatal(err)
		}
		_, js := b.raw()
		s, err := js.Stream(ctx(t), "DRAY_WORK")
		if err != nil || s.CachedInfo().Config.MaxMsgs != 77 {
			t.Errorf("%+v %v", s.CachedInfo().Config, err)
		}
		// Workers with other limits in their environment take it as it is.
		if err := b.q.Check(ctx(t)); err != nil {
			t.Error(err)
		}
	})
}

func TestEnsureNamesAForeignConfiguration(t *testing.T) {
	t.Parallel()
	b := setup(t, "", nil)
	_, js := b.raw()
	if _, err := js.CreateStream(ctx(t), jetstream.StreamConfig{Name: "DRAY_WORK", Subjects: []string{"dray.work.>"}, Storage: jetstream.MemoryStorage, Retention: jetstream.LimitsPolicy}); err != nil {
		t.Fatal(err)
	}
	err := b.q.Ensure(ctx(t))
	want(t, err, queue.ErrTopology)
	var te *queue.TopologyError
	if !errors.As(err, &te) || job.ClassOf(err) != job.Permanent {
		t.Fatalf("%v", err)
	}
	found := map[string]queue.Mismatch{}
	for _, m := range te.Mismatches {
		found[m.Field] = m
	}
	if m := found["storage"]; m.Stream != "DRAY_WORK" || m.Wanted != "File" || m.Found != "Memory" {
		t.Errorf("storage: %+v", m)
	}
	if m := found["retention"]; m.Wanted != "WorkQueue" || m.Found != "Limits" {
		t.Errorf("retention: %+v", m)
	}
	if !strings.Contains(err.Error(), "DRAY_WORK: storage is Memory, wanted File") {
		t.Error(err)
	}

	// Another stream that listens to our subjects.
	b2 := setup(t, "", nil)
	_, js = b2.raw()
	if _, err := js.CreateStream(ctx(t), jetstream.StreamConfig{Name: "THEIRS", Subjects: []string{"dray.results.*"}}); err != nil {
		t.Fatal(err)
	}
	err = b2.q.Ensure(ctx(t))
	want(t, err, queue.ErrTopology)
	if !strings.Contains(err.Error(), "DRAY_RESULTS") {
		t.Error(err)
	}
}

func TestCheckFindsWhatIsMissingOrForeign(t *testing.T) {
	t.Parallel()
	b := setup(t, "", func(c *queue.Config) { c.Timeout = time.Second })
	start := time.Now()
	err := b.q.Check(ctx(t))
	want(t, err, queue.ErrNotFound)
	if took := time.Since(start); took > 5*time.Second || !strings.Contains(err.Error(), "DRAY_JOBS") {
		t.Errorf("%v after %v", err, took)
	}

	// It waits for a coordinator that comes a little later.
	b.cfg.Timeout = 15 * time.Second
	late := b.connect()
	answer := make(chan error, 1)
	go func() { answer <- late.Check(ctx(t)) }()
	select {
	case err := <-answer:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := late.Ensure(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Fatal(err)
	}

	_, js := b.raw()
	s, err := js.Stream(ctx(t), "DRAY_RESULTS")
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.DiscardNewPerSubject = false
	if _, err := js.UpdateStream(ctx(t), c); err != nil {
		t.Fatal(err)
	}
	err = late.Check(ctx(t))
	want(t, err, queue.ErrTopology)
	if !strings.Contains(err.Error(), "DRAY_RESULTS: discard_new_per_subject is false, wanted true") {
		t.Error(err)
	}
	if err := late.Ensure(ctx(t)); err != nil { // which a coordinator repairs
		t.Fatal(err)
	}
	if err := late.Check(ctx(t)); err != nil {
		t.Fatal(err)
	}
}

func TestEmbeddedRefusesASecondOnItsStoreAndAnOpenDoor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := queue.StartEmbedded(ctx(t), queue.EmbeddedConfig{StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if first.URL() != "" {
		t.Errorf("URL %q of a server that does not listen", first.URL())
	}
	_, err = queue.StartEmbedded(ctx(t), queue.EmbeddedConfig{StoreDir: dir})
	want(t, err, queue.ErrUnavailable)
	first.Close()
	again, err := queue.StartEmbedded(ctx(t), queue.EmbeddedConfig{StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	want(t, again.Start(ctx(t)), queue.ErrUnavailable)

	for _, bad := range []string{"0.0.0.0:0", ":0", "example.com:0", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999"} {
		_, err := queue.StartEmbedded(ctx(t), queue.EmbeddedConfig{StoreDir: t.TempDir(), Listen: bad})
		want(t, err, queue.ErrInvalid)
	}
	_, err = queue.StartEmbedded(ctx(t), queue.EmbeddedConfig{})
	want(t, err, queue.ErrInvalid)
}

func TestEmbeddedWithATokenLetsNobodyElseIn(t *testing.T) {
	t.Parallel()
	e, err := queue.StartEmbedded(ctx(t), queue.EmbeddedConfig{StoreDir: t.TempDir(), Listen: "0.0.0.0:0", Token: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	q, err := e.Connect(ctx(t), queue.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	q.Close()
	cfg := queue.DefaultConfig()
	cfg.URL = e.URL()
	if q, err = queue.Connect(ctx(t), cfg); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(q.Address(), "s3cret") {
		t.Error(q.Address())
	}
	q.Close()
	cfg.URL = strings.Replace(cfg.URL, "s3cret", "wrong", 1)
	_, err = queue.Connect(ctx(t), cfg)
	want(t, err, queue.ErrDenied)
	if strings.Contains(err.Error(), "wrong") {
		t.Error(err)
	}
}

func TestEmbeddedOnATakenPortSaysSo(t *testing.T) {
	t.Parallel()
	address := silentServer(t)
	_, err := queue.StartEmbedded(ctx(t), queue.EmbeddedConfig{StoreDir: t.TempDir(), Listen: address, Ready: time.Second})
	want(t, err, queue.ErrUnavailable)
	c, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := queue.StartEmbedded(c, queue.EmbeddedConfig{StoreDir: t.TempDir(), Listen: address}); err == nil {
		t.Error("started on a port that is taken")
	}
}
