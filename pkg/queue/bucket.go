package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

// Headers of a bucket's delete markers, NATS ADR-8 and ADR-48.
const (
	headerOperation = "KV-Operation"
	operationPurge  = "PURGE"
)

// Revision is the version of a record: pass the one you read to the write that
// depends on it. It grows with each write and is never used twice.
type Revision uint64

// bucket is a set of keys with one value each: nats.go's KeyValue on the same
// streams (ADR-8), with the repetition of write.go and with a TTL that a
// renewal does not lose.
type bucket struct {
	q    *Queue
	name string
}

func (q *Queue) bucket(name string) bucket { return bucket{q, name} }

func (b bucket) stream() string            { return bucketPrefix + b.name }
func (b bucket) subject(key string) string { return "$KV." + b.name + "." + key }

// get returns the value, or ErrNotFound, for which rev is that of the marker
// the key left, 0 if none.
func (b bucket) get(ctx context.Context, key string) (value []byte, rev Revision, err error) {
	m, err := b.q.last(ctx, b.stream(), b.subject(key))
	if err != nil {
		return nil, 0, err
	}
	if deleted(m.Header) {
		return nil, Revision(m.Sequence), ErrNotFound
	}
	return m.Data, Revision(m.Sequence), nil
}

// put writes the value if the key's revision is rev; 0 means that there is no
// such key, where the marker of a deleted one does not count. A ttl of 0 keeps
// it for ever.
func (b bucket) put(ctx context.Context, what, key string, value []byte, rev Revision, ttl time.Duration) (Revision, error) {
	expect := uint64(rev)
	for {
		seq, err := b.q.write(ctx, what, write{
			stream: b.stream(), subject: b.subject(key), data: value, expect: &expect, ttl: ttl,
		})
		if rev == 0 && errors.Is(err, ErrExists) {
			_, marker, gerr := b.get(ctx, key)
			if errors.Is(gerr, ErrNotFound) && uint64(marker) > expect {
				expect = uint64(marker)
				continue
			}
		}
		if rev == 0 && errors.Is(err, ErrConflict) {
			// Another took the place of the marker meanwhile.
			err = job.WithClass(fmt.Errorf("%s: %w", what, ErrExists), job.Retry)
		}
		return Revision(seq), err
	}
}

// purge removes the key and leaves a marker for the watchers, which goes too.
// A rev other than 0 is the revision that the key must have.
func (b bucket) purge(ctx context.Context, what, key string, rev Revision) error {
	h := nats.Header{}
	h.Set(headerOperation, operationPurge)
	h.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	w := write{stream: b.stream(), subject: b.subject(key), header: h, ttl: markerTTL}
	if rev != 0 {
		expect := uint64(rev)
		w.expect = &expect
	}
	_, err := b.q.write(ctx, what, w)
	return err
}

// keys lists the keys that match a filter, those of deleted ones among them, at
// most some 100,000: they come in one answer.
func (b bucket) keys(ctx context.Context, what, filter string) ([]string, error) {
	var keys []string
	err := b.q.repeat(ctx, what, apiStreamInfo+b.stream(), func(ctx context.Context) error {
		s, err := b.q.stream(ctx, b.stream())
		if err != nil {
			return err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(b.subject(filter)))
		if err != nil {
			return err
		}
		keys = keys[:0]
		for subject := range info.State.Subjects {
			keys = append(keys, strings.TrimPrefix(subject, b.subject("")))
		}
		slices.Sort(keys)
		return nil
	})
	return keys, err
}

func deleted(h nats.Header) bool {
	return h.Get(headerOperation) != "" || h.Get(jetstream.MarkerReasonHeader) != ""
}
