package queue

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"drayage/pkg/job"
)

// Watermark is how far the jobs of an incremental pipeline have come: a key of
// the state bucket.
type Watermark struct {
	Pipeline string `json:"pipeline"`
	// Job has claimed it: the job that reads on from here, or the last that did
	// and did not end well. Empty: nobody.
	Job string `json:"job,omitempty"`
	// State is where the source goes on; only the source reads it.
	State json.RawMessage `json:"state,omitempty"`
	// Seen are the parts of the set of inputs that were loaded, oldest first.
	Seen    []SeenPart `json:"seen,omitempty"`
	MovedBy string     `json:"moved_by,omitempty"` // the job that moved it last
	MovedAt time.Time  `json:"moved_at,omitzero"`
}

// SeenPart is a part of a set of inputs, which never changes under its name.
type SeenPart struct {
	Name  string `json:"name"`
	Count int    `json:"count"` // at most SeenPartMax
}

// SeenPartMax bounds the inputs of one part.
const SeenPartMax = 32_768

func watermarkKey(pipeline string) string { return "watermark." + pipeline }

// Watermark reads that of a pipeline, and ErrNotFound when there is none.
func (q *Queue) Watermark(ctx context.Context, pipeline string) (Watermark, Revision, error) {
	var w Watermark
	data, rev, err := q.bucket(bucketState).get(ctx, watermarkKey(pipeline))
	if err != nil {
		return w, 0, fmt.Errorf("reading the watermark of pipeline %s: %w", pipeline, err)
	}
	if err := json.Unmarshal(data, &w); err != nil {
		return w, 0, job.WithClass(fmt.Errorf("reading the watermark of pipeline %s: %w: %w", pipeline, ErrInvalid, err), job.Permanent)
	}
	return w, rev, nil
}

// PutWatermark writes w if its revision is still rev; 0: if there is none. The
// error is ErrConflict or ErrExists when another was first.
func (q *Queue) PutWatermark(ctx context.Context, w Watermark, rev Revision) (Revision, error) {
	data, err := json.Marshal(w)
	if err != nil {
		return 0, err
	}
	what := "writing the watermark of pipeline " + w.Pipeline
	return q.bucket(bucketState).put(ctx, what, watermarkKey(w.Pipeline), data, rev, 0)
}

// ForgetWatermark removes that of a pipeline and its parts. It is idempotent.
func (q *Queue) ForgetWatermark(ctx context.Context, pipeline string) error {
	w, rev, err := q.Watermark(ctx, pipeline)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := q.bucket(bucketState).purge(ctx, "forgetting the watermark of pipeline "+pipeline, watermarkKey(pipeline), rev); err != nil {
		return err
	}
	for _, part := range w.Seen {
		if err := q.DropSeen(ctx, pipeline, part.Name); err != nil {
			return err
		}
	}
	return nil
}

// Watermarks lists all, by pipeline.
func (q *Queue) Watermarks(ctx context.Context) ([]Watermark, error) {
	const prefix = "watermark."
	keys, err := q.bucket(bucketState).keys(ctx, "listing the watermarks", prefix+"*")
	if err != nil {
		return nil, err
	}
	var all []Watermark
	for _, key := range keys {
		w, _, err := q.Watermark(ctx, strings.TrimPrefix(key, prefix))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

func seenKey(pipeline, part string) string { return "seen." + pipeline + "." + part }

// PutSeen writes a part of at most SeenPartMax inputs. Written again under the
// same name it is replaced.
func (q *Queue) PutSeen(ctx context.Context, pipeline, part string, inputs []uint64) error {
	what := "writing what pipeline " + pipeline + " has loaded"
	if len(inputs) > SeenPartMax {
		return job.WithClass(fmt.Errorf("%s: %w: %d inputs", what, ErrTooLarge, len(inputs)), job.Permanent)
	}
	data := make([]byte, 0, 8*len(inputs))
	for _, n := range inputs {
		data = binary.LittleEndian.AppendUint64(data, n)
	}
	b, key := q.bucket(bucketState), seenKey(pipeline, part)
	for {
		_, rev, err := b.get(ctx, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if errors.Is(err, ErrNotFound) {
			rev = 0
		}
		_, err = b.put(ctx, what, key, data, rev, 0)
		if errors.Is(err, ErrConflict) || errors.Is(err, ErrExists) {
			continue
		}
		return err
	}
}

// Seen reads a part.
func (q *Queue) Seen(ctx context.Context, pipeline, part string) ([]uint64, error) {
	data, _, err := q.bucket(bucketState).get(ctx, seenKey(pipeline, part))
	if err == nil && len(data)%8 != 0 {
		err = job.WithClass(fmt.Errorf("%w: %d bytes", ErrInvalid, len(data)), job.Permanent)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what pipeline %s has loaded: %w", pipeline, err)
	}
	inputs := make([]uint64, len(data)/8)
	for i := range inputs {
		inputs[i] = binary.LittleEndian.Uint64(data[8*i:])
	}
	return inputs, nil
}

// DropSeen removes a part. It is idempotent.
func (q *Queue) DropSeen(ctx context.Context, pipeline, part string) error {
	err := q.bucket(bucketState).purge(ctx, "dropping what pipeline "+pipeline+" has loaded", seenKey(pipeline, part), 0)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
