package queue_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("DRAY_QUEUE_CHILD"); mode != "" {
		os.Exit(child(mode))
	}
	flag.Parse()
	// The tests wait for leases and disks, they do not compute: more of them
	// at once than there are cores, unless the command line says otherwise.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("8"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// A bundle is one real server on its own store and a connection to it.
type bundle struct {
	t      *testing.T
	server *queue.Embedded
	cfg    queue.Config
	q      *queue.Queue
}

// onEach runs a behaviour against a server in this process and against one on
// TCP. Every test of what the package does goes through it.
func onEach(t *testing.T, behaviour func(t *testing.T, b *bundle)) {
	t.Helper()
	t.Parallel()
	for _, listen := range []string{"", "127.0.0.1:0"} {
		name := "in process"
		if listen != "" {
			name = "tcp"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, listen, nil)
			if err := b.q.Ensure(ctx(t)); err != nil {
				t.Fatal(err)
			}
			behaviour(t, b)
		})
	}
}

func setup(t *testing.T, listen string, change func(*queue.Config)) *bundle {
	t.Helper()
	log := zerolog.Nop()
	if os.Getenv("DRAY_TEST_LOG") != "" {
		log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.DebugLevel)
	}
	server, err := queue.StartEmbedded(ctx(t), queue.EmbeddedConfig{StoreDir: t.TempDir(), Listen: listen, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	b := &bundle{t: t, server: server, cfg: queue.DefaultConfig()}
	b.cfg.Log = log
	if change != nil {
		change(&b.cfg)
	}
	b.q = b.connect()
	return b
}

// connect makes another connection, as another process would.
func (b *bundle) connect() *queue.Queue {
	b.t.Helper()
	cfg := b.cfg
	var q *queue.Queue
	var err error
	if cfg.URL = b.server.URL(); cfg.URL == "" {
		q, err = b.server.Connect(ctx(b.t), cfg)
	} else {
		q, err = queue.Connect(ctx(b.t), cfg)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(q.Close)
	return q
}

// raw is a plain NATS client, to see and say what our package would not.
func (b *bundle) raw() (*nats.Conn, jetstream.JetStream) {
	b.t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(b.server))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.t.Fatal(err)
	}
	return nc, js
}

func (b *bundle) open(id string, jq queue.JobQueue) *queue.Puller {
	b.t.Helper()
	if err := b.q.OpenJob(ctx(b.t), id, jq); err != nil {
		b.t.Fatal(err)
	}
	return b.puller(b.q, id)
}

func (b *bundle) puller(q *queue.Queue, id string) *queue.Puller {
	b.t.Helper()
	p, err := q.Puller(ctx(b.t), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bundle) publish(id string, n int) {
	b.t.Helper()
	for i := range n {
		if err := b.q.PublishChunk(ctx(b.t), chunk(id, i)); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bundle) next(p *queue.Puller) *queue.Delivery {
	b.t.Helper()
	d, err := p.Next(ctx(b.t), 10*time.Second)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *bundle) settle(d *queue.Delivery, v job.Verdict) {
	b.t.Helper()
	if err := d.Settle(ctx(b.t), v); err != nil {
		b.t.Fatal(err)
	}
}

// backlog waits until the job's queue looks as wanted.
func (b *bundle) backlog(id string, queued, inFlight uint64) {
	b.t.Helper()
	eventually(b.t, func() error {
		n, m, err := b.q.Backlog(ctx(b.t), id)
		if err == nil && (n != queued || m != inFlight) {
			err = fmt.Errorf("backlog of %d queued, %d in flight; wanted %d, %d", n, m, queued, inFlight)
		}
		return err
	})
}

func chunk(id string, n int) job.Chunk {
	return job.Chunk{Job: id, Ordinal: uint64(n), Bytes: 64 << 20, Input: []byte(fmt.Sprintf(`{"path":"data/part-%06d.csv","from":0,"to":67108864,"etag":"x"}`, n))}
}

func result(id string, n int, worker string) job.Result {
	return job.Result{Job: id, Chunk: uint64(n), Attempt: 1, Worker: worker, RowsRead: 10, RowsLoaded: 10, StartedAt: time.Unix(1700000000, 0).UTC()}
}

// ctx is bounded, so that a hang is a failure with a stack.
func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	t.Cleanup(cancel)
	return c
}

// pullsWaiting waits until n pulls of the job wait at the server.
func (b *bundle) pullsWaiting(id string, n int) {
	b.t.Helper()
	_, js := b.raw()
	eventually(b.t, func() error {
		c, err := js.Consumer(ctx(b.t), "DRAY_WORK", "job-"+id)
		if err == nil && c.CachedInfo().NumWaiting != n {
			err = fmt.Errorf("%d pulls wait, wanted %d", c.CachedInfo().NumWaiting, n)
		}
		return err
	})
}

// eventually polls; the deadline is generous since two cores are shared.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
		if err = try(); err == nil {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Fatal(err)
}

func want(t *testing.T, err, sentinel error) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Fatalf("error is %v, wanted %v", err, sentinel)
	}
}

func TestConnectToNobodyIsQuickAndClear(t *testing.T) {
	t.Parallel()
	cfg := queue.DefaultConfig()
	cfg.URL = "nats://joe:s3cret@127.0.0.1:1"
	start := time.Now()
	_, err := queue.Connect(ctx(t), cfg)
	want(t, err, queue.ErrUnavailable)
	if job.ClassOf(err) != job.Retry {
		t.Errorf("class %v", job.ClassOf(err))
	}
	if s := err.Error(); !strings.Contains(s, "127.0.0.1:1") || strings.Contains(s, "s3cret") || strings.Contains(s, "joe") {
		t.Errorf("message: %s", s)
	}
	if took := time.Since(start); took > 3*time.Second+busy {
		t.Errorf("took %v", took)
	}
}

func TestConnectHonoursContextAgainstASilentServer(t *testing.T) {
	t.Parallel()
	address := silentServer(t)
	cfg := queue.DefaultConfig()
	cfg.URL, cfg.ConnectTimeout = "nats://"+address, 500*time.Millisecond
	c, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := queue.Connect(c, cfg)
	want(t, err, queue.ErrUnavailable)
	want(t, err, context.DeadlineExceeded)
	if took := time.Since(start); took > 400*time.Millisecond+busy {
		t.Errorf("took %v", took)
	}
}

func TestOldServersAreRefused(t *testing.T) {
	t.Parallel()
	cfg := queue.DefaultConfig()
	cfg.URL = "nats://" + oldServer(t, "2.13.9")
	_, err := queue.Connect(ctx(t), cfg)
	want(t, err, queue.ErrUnavailable)
	if job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), "2.13.9") || !strings.Contains(err.Error(), "2.14") {
		t.Errorf("%v (%v)", err, job.ClassOf(err))
	}
}

func TestClosedQueueSaysSo(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		q := b.connect()
		q.Close()
		q.Close()
		want(t, q.PublishChunk(ctx(t), chunk("j", 0)), queue.ErrUnavailable)
		_, _, err := q.Job(ctx(t), "j")
		want(t, err, queue.ErrUnavailable)
		want(t, q.Ping(ctx(t)), queue.ErrUnavailable)
		want(t, q.Results(ctx(t), "j", func(job.Result) error { return nil }), queue.ErrUnavailable)
		_, err = q.WatchJobs(ctx(t))
		want(t, err, queue.ErrUnavailable)
	})
}

func TestClosingEndsWatches(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		q := b.connect()
		watch, err := q.WatchJobs(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		if u := <-watch; !u.CaughtUp {
			t.Errorf("%+v", u)
		}
		ended := make(chan error, 1)
		caught := make(chan struct{})
		go func() {
			ended <- q.Results(ctx(t), "j", func(job.Result) error { return nil }, queue.WhenCaughtUp(func() { close(caught) }))
		}()
		<-caught
		q.Close()
		for range watch {
		}
		want(t, <-ended, queue.ErrUnavailable)
	})
}

func TestUnreachableServerEndsWithTheContext(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		b.server.Stop()
		c, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		err := b.q.RecordResult(c, result("j", 0, "w"))
		want(t, err, queue.ErrUnavailable)
		want(t, err, context.DeadlineExceeded)
		if job.ClassOf(err) != job.Retry {
			t.Errorf("class %v", job.ClassOf(err))
		}
		_, err = b.q.Result(c, "j", 0, 0)
		if err == nil {
			t.Error("read from a server that is not there")
		}
	})
}

func TestBadArgumentsAreNamed(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		for _, id := range []string{"", "a.b", "a*", ">", "A", strings.Repeat("x", 129), "a b"} {
			c := ctx(t)
			_, cerr := b.q.CreateJob(c, job.Job{ID: id})
			_, _, jerr := b.q.Job(c, id)
			_, perr := b.q.Puller(c, id)
			for i, err := range []error{
				cerr, jerr, perr, b.q.PublishChunk(c, chunk(id, 0)), b.q.RecordResult(c, result(id, 0, "w")),
				b.q.OpenJob(c, id, queue.JobQueue{}), b.q.CloseJob(c, id), b.q.DeleteJob(c, id), b.q.PurgeResults(c, id),
				b.q.PublishDead(c, job.Dead{Chunk: chunk(id, 0)}), b.q.PublishAttempt(c, job.Attempt{Job: id}),
			} {
				if !errors.Is(err, queue.ErrInvalid) || job.ClassOf(err) != job.Permanent {
					t.Errorf("id %q, call %d: %v", id, i, err)
				}
			}
		}
		big := chunk("j", 0)
		big.Input = []byte(`"` + strings.Repeat("x", job.MaxDescriptor) + `"`)
		err := b.q.PublishChunk(ctx(t), big)
		want(t, err, queue.ErrTooLarge)
		_, err = b.q.CreateJob(ctx(t), job.Job{ID: "j", Error: strings.Repeat("x", 2<<20)})
		want(t, err, queue.ErrTooLarge)
		if job.ClassOf(err) != job.Permanent {
			t.Errorf("class %v", job.ClassOf(err))
		}
	})
}
