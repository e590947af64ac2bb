package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// BenchmarkChunk is a chunk's whole way through the queue, with every
// acknowledged write synced to disk: publish, pull, record, acknowledge.
func BenchmarkChunk(b *testing.B) {
	for _, workers := range []int{1, 8, 32} {
		b.Run(fmt.Sprint("workers=", workers), func(b *testing.B) {
			c, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			e, err := queue.StartEmbedded(c, queue.EmbeddedConfig{StoreDir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			q, err := e.Connect(c, queue.DefaultConfig())
			if err != nil {
				b.Fatal(err)
			}
			defer q.Close()
			if err := errors.Join(q.Ensure(c), q.OpenJob(c, "j", queue.JobQueue{MaxInFlight: 2 * workers})); err != nil {
				b.Fatal(err)
			}
			p, err := q.Puller(c, "j")
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			var n, done atomic.Int64
			for range min(workers, 8) { // planners
				wg.Go(func() {
					for i := n.Add(1) - 1; i < int64(b.N); i = n.Add(1) - 1 {
						if err := q.PublishChunk(c, chunk("j", int(i))); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			for range workers {
				wg.Go(func() {
					for done.Load() < int64(b.N) {
						d, err := p.Next(c, 100*time.Millisecond)
						if errors.Is(err, queue.ErrEmpty) {
							continue
						}
						if err == nil {
							err = errors.Join(q.RecordResult(c, result("j", int(d.Chunk().Ordinal), "w")), d.Settle(c, job.Verdict{Kind: job.VerdictDone}))
						}
						if err != nil {
							b.Error(err)
							return
						}
						done.Add(1)
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "chunks/s")
		})
	}
}
