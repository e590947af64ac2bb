package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// NATS counts deliveries and nothing else, so a chunk that met an overloaded
// ClickHouse five times, or five draining workers, would look like one that
// failed five times. Deliveries that ended so are therefore counted in a
// bucket, one small key a chunk, written before the Nak while the chunk
// is still ours. Losing a count is safe: the chunk is given up a bit early, as
// a dead letter that can be replayed.

const (
	// A chunk is not worked on for longer than this.
	excusedTTL = 7 * 24 * time.Hour
	// An excuse is not worth delaying a Nak for long.
	excuseTimeout = 2 * time.Second
)

func (d *Delivery) excusedKey() string {
	c := d.chunk
	key := c.Job + "." + strconv.FormatUint(c.Ordinal, 10) + "." + strconv.FormatUint(uint64(c.Generation), 10)
	if d.hedge { // another message, with deliveries of its own
		key += hedgeSuffix
	}
	return key
}

// Excused is how many earlier deliveries of this chunk do not count as
// attempts, because they were settled as SlowDown or Draining: the limit of
// attempts is for Attempt() - Excused(). It asks NATS only from the second
// delivery on. A delivery whose worker was killed counts.
func (d *Delivery) Excused(ctx context.Context) (int, error) {
	if d.attempt <= 1 {
		return 0, nil
	}
	n, _, err := d.excused(ctx)
	if err != nil {
		return 0, fmt.Errorf("excused attempts of %s: %w", d.name(), err)
	}
	return min(n, d.attempt-1), nil
}

func (d *Delivery) excused(ctx context.Context) (int, Revision, error) {
	data, rev, err := d.p.q.bucket(bucketExcused).get(ctx, d.excusedKey())
	if errors.Is(err, ErrNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	var n int
	if err := json.Unmarshal(data, &n); err != nil || n < 0 {
		return 0, rev, nil //nolint:nilerr // not ours; it is overwritten
	}
	return n, rev, nil
}

// excuse adds one, if that can be done quickly.
func (d *Delivery) excuse(ctx context.Context) {
	q := d.p.q
	// Not past the lease, which is not renewed any more: the Nak must still
	// find the chunk ours.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(excuseTimeout, time.Until(d.until())/2))
	defer cancel()
	n, rev, err := 0, Revision(0), error(nil)
	for range 3 {
		if n, rev, err = d.excused(ctx); err != nil {
			break
		}
		_, err = q.bucket(bucketExcused).put(ctx, "excuse an attempt", d.excusedKey(), []byte(strconv.Itoa(n+1)), rev, excusedTTL)
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrExists) {
			break
		}
	}
	if err != nil {
		q.cfg.Log.Warn().Err(err).Str("job", d.chunk.Job).Uint64("chunk", d.chunk.Ordinal).Msg("an attempt that should not count will")
	}
}
