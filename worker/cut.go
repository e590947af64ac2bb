package worker

import (
	"context"
	"errors"
	"fmt"

	"drayage/pkg/job"
	"drayage/pkg/queue"
	"drayage/pkg/source"
)

// errFloor is why a chunk was given up that is too big and can not be cut.
var errFloor = errors.New("the chunk is too big and can not be cut any more")

// cut makes do with a chunk that is too big for one attempt: its result is then
// that smaller chunks replace it or, when its input can not be cut but only
// its output is too big, that of several blocks.
func (s *slot) cut(ctx context.Context, lease *queue.Lease, t *task, d *queue.Delivery, res *job.Result, why error) error {
	c := d.Chunk()
	parts, err := split(ctx, t, c)
	switch {
	case err == nil:
		s.w.log.Info().Str("job", c.Job).Uint64("chunk", c.Ordinal).Int("parts", len(parts)).AnErr("reason", why).Msg("chunk cut")
		res.Parts = parts
		res.RowsRead, res.RowsLoaded, res.RowsRejected, res.BytesRead, res.BytesLoaded = 0, 0, 0, 0, 0
		res.Hash, res.Shares = "", nil
		return nil
	case !errors.Is(err, source.ErrWhole):
		return fmt.Errorf("cutting the chunk: %w", err)
	case errors.Is(why, ErrTooBig):
		return s.spill(ctx, lease, t, d, res)
	}
	return job.WithClass(fmt.Errorf("%w: %w", errFloor, why), job.Permanent)
}

func split(ctx context.Context, t *task, c job.Chunk) ([]job.Part, error) {
	splitter, ok := t.source.(source.Splitter)
	if !ok {
		return nil, source.ErrWhole
	}
	return splitter.Split(ctx, c.Input, t.job.Frozen.Columns)
}
