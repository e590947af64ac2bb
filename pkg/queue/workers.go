package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

// Heartbeat says that a worker lives and what it does. Beat at a third of
// Config.WorkerTTL; without beats the worker disappears from Workers by itself
// within WorkerTTL and a second or two. ErrExists: another living process uses
// this worker's id. It gives up after a third of WorkerTTL or when ctx ends:
// the next beat will do.
//
// nats.go's Update would drop the key's TTL, and such a worker would live for
// ever; so a beat is a publication with the expected sequence and a TTL.
func (q *Queue) Heartbeat(ctx context.Context, w job.Worker) error {
	if w.ID == "" || len(w.ID) > job.MaxID {
		return invalid("worker id %.140q: 1 to %d bytes", w.ID, job.MaxID)
	}
	what := "heartbeat of worker " + w.ID
	data, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("%s: %w", what, invalid("%v", err))
	}
	ctx, cancel := context.WithTimeout(ctx, q.cfg.WorkerTTL/3)
	defer cancel()
	b, key := q.bucket(bucketWorkers), keyToken(w.ID)
	ttl := max(q.cfg.WorkerTTL.Round(time.Second), time.Second)
	q.mu.Lock()
	rev := Revision(q.beats[key])
	q.mu.Unlock()
	for range 3 {
		next, err := b.put(ctx, what, key, data, rev, ttl)
		if err == nil {
			q.mu.Lock()
			q.beats[key] = uint64(next)
			q.mu.Unlock()
			return nil
		}
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrExists) {
			return err
		}
		// The key expired, or a beat of ours was stored without our knowing,
		// or somebody else is called the same.
		value, there, err := b.get(ctx, key)
		switch {
		case errors.Is(err, ErrNotFound):
			rev = 0
			continue
		case err != nil:
			return err
		}
		var other job.Worker
		if json.Unmarshal(value, &other) == nil && (other.Host != w.Host || other.PID != w.PID || !other.StartedAt.Equal(w.StartedAt)) {
			return job.WithClass(fmt.Errorf("%s: %w: on host %s, process %d, since %s", what, ErrExists, other.Host, other.PID, other.StartedAt.Format(time.RFC3339)), job.Retry)
		}
		rev = there
	}
	return job.WithClass(fmt.Errorf("%s: %w", what, ErrConflict), job.Retry)
}

// Farewell removes the worker at once; without it the TTL does. Idempotent.
func (q *Queue) Farewell(ctx context.Context, workerID string) error {
	key := keyToken(workerID)
	q.mu.Lock()
	delete(q.beats, key)
	q.mu.Unlock()
	return q.bucket(bucketWorkers).purge(ctx, "farewell of worker "+workerID, key, 0)
}

// Workers returns the workers that beat within the last Config.WorkerTTL, by id.
func (q *Queue) Workers(ctx context.Context) ([]job.Worker, error) {
	found := map[string]job.Worker{}
	err := q.list(ctx, "list workers", bucketPrefix+bucketWorkers, "$KV."+bucketWorkers+".>", func(m *jetstream.RawStreamMsg) error {
		var w job.Worker
		switch {
		case deleted(m.Header):
			delete(found, m.Subject)
		case json.Unmarshal(m.Data, &w) != nil || w.ID == "":
			q.cfg.Log.Error().Str("subject", m.Subject).Msg("heartbeat can not be read")
		default:
			found[m.Subject] = w
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	workers := make([]job.Worker, 0, len(found))
	for _, w := range found {
		workers = append(workers, w)
	}
	slices.SortFunc(workers, func(a, b job.Worker) int { return strings.Compare(a.ID, b.ID) })
	return workers, nil
}

// keyToken makes any text one token of a key, different texts different ones:
// letters, digits, _ and - stay, other bytes become =XX.
func keyToken(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}
