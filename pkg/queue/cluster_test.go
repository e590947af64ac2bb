package queue_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// cluster starts three servers with JetStream replicated between them.
func cluster(t *testing.T) []*server.Server {
	t.Helper()
	var ports []int
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		l.Close()
	}
	var routes []string
	for _, p := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	var servers []*server.Server
	for i, p := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(),
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: p, NoAdvertise: true}, // or clients go past a proxy
			Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		servers = append(servers, s)
	}
	for _, s := range servers {
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("the cluster does not start")
		}
	}
	return servers
}

// replicated starts a cluster and connects to each of its servers at first; the
// streams are there, three times.
func replicated(t *testing.T) (servers []*server.Server, cfg queue.Config, queues []*queue.Queue) {
	t.Helper()
	servers = cluster(t)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.ClientURL())
	}
	cfg = queue.DefaultConfig()
	cfg.Replicas, cfg.Timeout = 3, 20*time.Second
	for i := range 3 {
		cfg.URL = strings.Join(append([]string{urls[i]}, urls...), ",")
		q, err := queue.Connect(ctx(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(q.Close)
		queues = append(queues, q)
	}
	eventually(t, func() error { return queues[0].Ensure(ctx(t)) })
	return servers, cfg, queues
}

// What the registers, the compare-and-set and the acknowledgements promise
// holds on three replicas too, where NATS answers with other codes, and while
// a server and with it some leaders go away.
func TestThreeReplicas(t *testing.T) {
	t.Parallel()
	servers, _, queues := replicated(t)
	q := queues[0]
	for _, q := range queues {
		if err := q.Check(ctx(t)); err != nil {
			t.Fatal(err)
		}
	}

	const subjects, publishers = 10, 6
	var mu sync.Mutex
	won := map[string]int{}
	count := func(what string, n int, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			won[fmt.Sprint(what, n)]++
		case !errors.Is(err, queue.ErrExists) && !errors.Is(err, queue.ErrConflict):
			t.Errorf("%s %d: %v", what, n, err)
		}
	}
	rev, err := q.CreateJob(ctx(t), job.Job{ID: "cas"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for who := range publishers {
		q := queues[who%3]
		wg.Go(func() {
			_, err := q.UpdateJob(ctx(t), job.Job{ID: "cas"}, rev)
			count("cas", 0, err)
			for n := range subjects {
				count("work", n, q.PublishChunk(ctx(t), chunk("j", n)))
				count("result", n, q.RecordResult(ctx(t), result("j", n, fmt.Sprint("w", who))))
				_, err := q.CreateJob(ctx(t), job.Job{ID: fmt.Sprint("j", n)})
				count("job", n, err)
			}
		})
	}
	wg.Wait()
	if len(won) != 3*subjects+1 {
		t.Errorf("%d winners", len(won))
	}
	for what, n := range won {
		if n != 1 {
			t.Errorf("%s: %d succeeded", what, n)
		}
	}

	// Work goes on while one server leaves for good.
	if err := q.OpenJob(ctx(t), "j", queue.JobQueue{MaxInFlight: 4, Lease: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	var p *queue.Puller
	eventually(t, func() (err error) { p, err = q.Puller(ctx(t), "j"); return err })
	done := map[uint64]bool{}
	for i := 0; len(done) < subjects; i++ {
		if i == 3 {
			servers[0].Shutdown()
		}
		d, err := p.Next(ctx(t), 5*time.Second)
		if errors.Is(err, queue.ErrEmpty) || errors.Is(err, queue.ErrUnavailable) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Settle(ctx(t), job.Verdict{Kind: job.VerdictDone}); err != nil {
			t.Fatal(err)
		}
		done[d.Chunk().Ordinal] = true
	}
	var results int
	c, cancel := context.WithTimeout(ctx(t), 15*time.Second)
	defer cancel()
	err = queues[1].Results(c, "j", func(job.Result) error {
		if results++; results == subjects {
			return queue.ErrStop
		}
		return nil
	})
	if err != nil || results != subjects {
		t.Errorf("%d results, %v", results, err)
	}
}
