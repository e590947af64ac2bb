package api

import (
	"context"
	"time"

	"drayage/pkg/clickhouse"
)

// Bounds of what is told of a job's past.
const (
	maxBuckets  = 120 // about; a day's job has spans of a quarter of an hour
	defaultRows = 20
	maxRows     = 1000
)

// Throughput is what a job loaded over time.
type Throughput struct {
	Job  string    `json:"job"`
	From time.Time `json:"from"` // when it started; zero before
	To   time.Time `json:"to"`   // its end, or now
	// EverySeconds is the length of a span.
	EverySeconds int64 `json:"every_seconds"`
	// Buckets are the spans in which a chunk ended, in their order; the others
	// are left out. All rows of a chunk count for when it ended.
	Buckets []clickhouse.Bucket `json:"buckets"`
}

// spans are the lengths that buckets may have, in seconds.
//
//nolint:gochecknoglobals // a constant
var spans = []int64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400}

// spanOf is the shortest of the spans of which a time has at most maxBuckets, or
// what has when a day is too short.
func spanOf(whole time.Duration) int64 {
	seconds := int64(whole / time.Second)
	for _, s := range spans {
		if seconds <= s*maxBuckets {
			return s
		}
	}
	return seconds/maxBuckets + 1
}

// Throughput sums up a job's ledger by time.
func (s *Service) Throughput(ctx context.Context, id string) (Throughput, error) {
	t := Throughput{Job: id, Buckets: []clickhouse.Bucket{}, EverySeconds: 1}
	j, err := s.record(ctx, id)
	if err != nil || j.StartedAt.IsZero() {
		return t, err
	}
	t.From, t.To = j.StartedAt, time.Now().UTC()
	if !j.FinishedAt.IsZero() {
		t.To = j.FinishedAt
	}
	t.EverySeconds = spanOf(t.To.Sub(t.From))
	buckets, err := s.ClickHouse.Throughput(ctx, id, time.Duration(t.EverySeconds)*time.Second)
	if buckets != nil {
		t.Buckets = buckets
	}
	return t, err
}

// SlowChunks are the chunks of a job that took longest.
type SlowChunks struct {
	Job    string                   `json:"job"`
	Chunks []clickhouse.LedgerEntry `json:"chunks"`
}

// Slowest returns the loaded chunks of a job that took longest, the slowest
// first, at most limit: 1 to 1000, or 0 for 20.
func (s *Service) Slowest(ctx context.Context, id string, limit int) (SlowChunks, error) {
	v := SlowChunks{Job: id}
	limit, err := rowsWanted(limit)
	if err == nil {
		_, err = s.record(ctx, id)
	}
	if err != nil {
		return v, err
	}
	v.Chunks, err = s.ClickHouse.SlowestChunks(ctx, id, limit)
	return v, err
}

// ErrorList are the errors of a job's attempts by kind.
type ErrorList struct {
	Job    string                  `json:"job"`
	Groups []clickhouse.ErrorGroup `json:"groups"`
}

// Errors groups the errors of a job's attempts, the commonest first, at most
// limit: 1 to 1000, or 0 for 20.
func (s *Service) Errors(ctx context.Context, id string, limit int) (ErrorList, error) {
	v := ErrorList{Job: id}
	limit, err := rowsWanted(limit)
	if err == nil {
		_, err = s.record(ctx, id)
	}
	if err != nil {
		return v, err
	}
	v.Groups, err = s.ClickHouse.ErrorGroups(ctx, id, limit)
	return v, err
}

// rowsWanted checks a limit.
func rowsWanted(limit int) (int, error) {
	switch {
	case limit < 0 || limit > maxRows:
		return 0, badInput("limit", "it is 1 to %d", maxRows)
	case limit == 0:
		return defaultRows, nil
	}
	return limit, nil
}
