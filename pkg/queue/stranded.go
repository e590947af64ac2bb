package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// JetStream's API of direct reads, + stream (NATS ADR-31).
	subjectDirectGet = "$JS.API.DIRECT.GET."
	// Messages read at once by a scan, which bounds its memory: 4 MiB when all
	// descriptors are as long as they may be.
	scanBatch = 1000
	// Stranded jobs found by one call.
	maxStranded = 1000
)

// Headers of direct reads, NATS ADR-31.
const (
	headerSubject  = "Nats-Subject"
	headerSequence = "Nats-Sequence"
	statusEnd      = "204" // the batch is complete
	statusNobody   = "503" // nobody listens there
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
		err := q.repeat(ctx, "look for stranded chunks", func(ctx context.Context) error {
			return q.scan(ctx, streamWork, upTo+1, func(subject string, sequence uint64) {
				upTo = sequence
				id := strings.TrimPrefix(subject, "dray.work.")
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
			})
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

// errBatch: a batch of direct reads broke off.
var errBatch = fmt.Errorf("%w: a read was not answered to its end", ErrUnavailable)

// scan reads at most scanBatch messages of a stream from a sequence on, as
// subjects and sequences.
func (q *Queue) scan(ctx context.Context, stream string, from uint64, fn func(subject string, sequence uint64)) error {
	body, err := json.Marshal(struct {
		Seq   uint64 `json:"seq"`
		Batch int    `json:"batch"`
	}{from, scanBatch})
	if err != nil {
		return err
	}
	ch := make(chan *nats.Msg, scanBatch+16)
	inbox := q.nc.NewInbox()
	sub, err := q.nc.ChanSubscribe(inbox, ch)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := q.nc.PublishRequest(subjectDirectGet+stream, inbox, body); err != nil {
		return err
	}
	patience := time.NewTimer(tryTimeout)
	defer patience.Stop()
	for {
		var m *nats.Msg
		select {
		case m = <-ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-patience.C:
			return nats.ErrTimeout
		}
		switch status := m.Header.Get(statusHeader); status {
		case "":
		case statusEnd, statusNotFound:
			return nil
		case statusNobody:
			return nats.ErrNoResponders
		default:
			return fmt.Errorf("%w: status %s", errBatch, status)
		}
		sequence, err := strconv.ParseUint(m.Header.Get(headerSequence), 10, 64)
		if err != nil {
			return errors.Join(errBatch, err)
		}
		fn(m.Header.Get(headerSubject), sequence)
	}
}
