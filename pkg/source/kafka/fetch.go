package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drayage/pkg/job"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// fetchBytes bounds an answer to a fetch, but for a batch that is larger.
	fetchBytes = 4 << 20
	// fetchWait is how long a broker may wait for the first byte.
	fetchWait = 5 * time.Second
	// stalls bounds the fetches without any progress, one after the other.
	stalls = 6
	// stallPause is the pause after the first, which doubles with each.
	stallPause = 200 * time.Millisecond
)

// fetcher reads the records of a range, batch by batch. Requests are made by
// hand, for the position after a batch tells where the range ends, also where
// its last offsets hold no record: aborted, compacted or control records.
type fetcher struct {
	c      *client
	id     topicID
	span   span  // From moves
	leader int32 // negative: to be asked for
	end    int64 // of the log, as the broker last said
	stalls int
}

// done reports whether the range is read.
func (f *fetcher) done() bool { return f.span.From >= f.span.To }

// next returns the records that follow, which may be none.
func (f *fetcher) next(ctx context.Context) ([]*kgo.Record, error) {
	if f.done() {
		return nil, nil
	}
	before := f.span.From
	records, err := f.fetch(ctx)
	if err == nil && f.span.From == before {
		err = f.stalled()
	}
	if err == nil {
		f.stalls = 0
		return records, nil
	}
	f.leader = -1
	f.stalls++
	if f.stalls >= stalls || !tryAgain(err) {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(stallPause << (f.stalls - 1)):
		return nil, nil
	}
}

var errNoProgress = errors.New("the broker answers without records")

// stalled is a Retry also where the log ends too early, for a new leader does
// not know at once how far its log is committed.
func (f *fetcher) stalled() error {
	return classify(fmt.Sprintf("reading topic %s, partition %d, offset %d of %d, whose log ends at %d",
		f.c.s.cfg.Topic, f.span.Partition, f.span.From, f.span.To, f.end), errNoProgress)
}

// tryAgain reports whether a stall may pass within this attempt. A topic ID that
// a broker does not know may be one that it does not know yet: the topic is
// asked for again, which tells.
func tryAgain(err error) bool {
	return errors.Is(err, errNoProgress) || kerr.IsRetriable(err) && !errors.Is(err, kerr.UnknownTopicOrPartition)
}

func (f *fetcher) fetch(ctx context.Context) ([]*kgo.Record, error) {
	s, p := f.c.s, f.span.Partition
	doing := fmt.Sprintf("reading topic %s, partition %d, offset %d", s.cfg.Topic, p, f.span.From)
	if f.leader < 0 {
		t, err := f.c.same(ctx, f.id)
		if err != nil {
			return nil, err
		}
		d, ok := t.Partitions[p]
		switch {
		case !ok:
			return nil, job.Permanentf("%s: %w", doing, errNoPartition)
		case d.Err != nil:
			return nil, classify(doing, d.Err)
		case d.Leader < 0:
			return nil, classify(doing, kerr.LeaderNotAvailable)
		}
		f.leader = d.Leader
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = int32(fetchWait.Milliseconds())
	req.MinBytes, req.MaxBytes = 1, fetchBytes
	req.IsolationLevel = 1 // read committed
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = s.cfg.Topic, f.id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = p, f.span.From, fetchBytes
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	answer, err := f.c.kgo.Broker(int(f.leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, classify(doing, err)
	}
	resp, ok := answer.(*kmsg.FetchResponse)
	if !ok {
		return nil, classify(doing, fmt.Errorf("the broker answers with %T", answer))
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, classify(doing, err)
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, classify(doing, errNoProgress)
	}
	return f.take(doing, &resp.Topics[0].Partitions[0])
}

var errNoPartition = errors.New("the topic does not have this partition any more")

// take decodes an answer and moves on.
func (f *fetcher) take(doing string, got *kmsg.FetchResponseTopicPartition) ([]*kgo.Record, error) {
	s := f.c.s
	err := kerr.ErrorForCode(got.ErrorCode)
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange) && got.LogStartOffset > f.span.From:
		return nil, s.lost(f.span.Partition, f.span.From, min(got.LogStartOffset, f.span.To))
	case errors.Is(err, kerr.OffsetOutOfRange) && got.HighWatermark >= 0 && got.HighWatermark < f.span.From:
		return nil, s.shorter(f.span.Partition, got.HighWatermark, f.span.To)
	case errors.Is(err, kerr.OffsetOutOfRange):
		return nil, s.lost(f.span.Partition, f.span.From, f.span.To)
	case err != nil:
		return nil, classify(doing, err)
	}
	f.end = got.HighWatermark
	part, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: f.span.From, IsolationLevel: kgo.ReadCommitted(), Topic: s.cfg.Topic, Partition: f.span.Partition,
	}, got, kgo.DefaultDecompressor(), nil)
	if part.Err != nil {
		return nil, classify(doing, part.Err)
	}
	records := part.Records
	for len(records) > 0 && records[len(records)-1].Offset >= f.span.To {
		records = records[:len(records)-1]
	}
	f.span.From = max(f.span.From, next)
	return records, nil
}
