package web

import (
	"slices"
	"time"

	"drayage/coordinator/api"
)

// throughputUpdate is the throughput of a job for the chart: rows a second, of
// spans that follow each other without a gap. With From only those from there on,
// and the ones before are as they were.
type throughputUpdate struct {
	Start int64     `json:"start"` // of the first span, in seconds since 1970
	Span  int64     `json:"span"`  // of each, in seconds
	From  int       `json:"from,omitempty"`
	Rows  []float64 `json:"rows"`
}

// maxSpans bounds the spans that a chart has.
const maxSpans = 2000

func throughputOf(t api.Throughput) throughputUpdate {
	u := throughputUpdate{Span: t.EverySeconds, Rows: []float64{}}
	if len(t.Buckets) == 0 || t.EverySeconds < 1 {
		return u
	}
	u.Start = t.Buckets[0].At.Unix()
	for _, b := range t.Buckets {
		n := (b.At.Unix() - u.Start) / t.EverySeconds
		if n < 0 || n >= maxSpans {
			continue
		}
		for int64(len(u.Rows)) <= n {
			u.Rows = append(u.Rows, 0)
		}
		u.Rows[n] = float64(b.RowsLoaded) / float64(t.EverySeconds)
	}
	return u
}

// since is what differs from before, false when nothing does.
func (u throughputUpdate) since(before throughputUpdate) (throughputUpdate, bool) {
	if u.Start != before.Start || u.Span != before.Span || len(u.Rows) < len(before.Rows) {
		return u, len(u.Rows) > 0 || len(before.Rows) > 0
	}
	n := 0
	for n < len(before.Rows) && u.Rows[n] == before.Rows[n] {
		n++
	}
	if n == len(u.Rows) {
		return u, false
	}
	u.From, u.Rows = n, u.Rows[n:]
	return u, true
}

// point is a span of the throughput as a row of a table.
type point struct {
	At   time.Time
	Rows uint64
	Rate string
}

// maxPoints bounds the rows of the table: the last ones.
const maxPoints = 60

func pointsOf(t api.Throughput) []point {
	var all []point
	for _, b := range slices.Backward(t.Buckets) {
		if len(all) == maxPoints {
			break
		}
		all = append(all, point{b.At.UTC(), b.RowsLoaded, orDash(rate(float64(b.RowsLoaded)/float64(max(t.EverySeconds, 1)), "/s"))})
	}
	return all
}
