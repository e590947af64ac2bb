package queue

import (
	"context"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// Messages read at once by a scan, which bounds its memory: 4 MiB when all
	// descriptors are as long as they may be.
	scanBatch = 1000
	// Stranded jobs found by one call.
	maxStranded = 1000
)

// StrandedJobs looks for chunks that nobody will ever take: those of jobs that
// live denies, in the order they were found. They are left by a coordinator that
// was stopped, went on, and published a chunk of a job that had ended meanwhile.
// CloseJob takes them away.
//
// It reads the queue after the message with sequence after, 0 for all of it,
// and returns where it ended, for the next call: since CloseJob takes away all
// that a job has when it ends, a chunk can only be stranded by being published
// later, so it is enough to look at each message once. A coordinator that begins
// to lead begins with 0, for the one before it may have died between a job's end
// and CloseJob. What a replica has not heard of yet is found by the next call.
//
// It reads 1,000 messages at a time, whatever the queue holds, at some 100,000 a
// second, until its end or ctx's. When it has found 1,000 jobs it returns early.
func (q *Queue) StrandedJobs(ctx context.Context, after uint64, live func(id string) bool) (ids []string, upTo uint64, err error) {
	judged := map[string]bool{}
	upTo = after
	for len(ids) < maxStranded {
		before := upTo
		err := q.repeat(ctx, "look for stranded chunks", apiDirectGet+streamWork, func(ctx context.Context) error {
			_, err := q.readBatch(ctx, streamWork, getRequest{Sequence: upTo + 1, Batch: scanBatch}, func(m *jetstream.RawStreamMsg) error {
				upTo = m.Sequence
				id := strings.TrimPrefix(m.Subject, "dray.work.")
				id, _, _ = strings.Cut(id, ".")
				known, ok := judged[id]
				if !ok {
					if len(judged) == maxStranded { // live ones too: memory is bounded
						clear(judged)
					}
					known = live(id)
					judged[id] = known
				}
				if !known && checkJobID(id) == nil && !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
				return nil
			})
			return err
		})
		if err != nil {
			return ids, upTo, err
		}
		if upTo == before {
			return ids, upTo, nil
		}
	}
	return ids, upTo, nil
}
