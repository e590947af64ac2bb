package clickhouse_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// jobs is a client with a ledger, and the name of a job that no other test has.
func jobs(t *testing.T) (*clickhouse.Client, string) {
	t.Helper()
	c := open(t, shared.URL())
	if err := c.EnsureLedger(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c, fmt.Sprintf("job-%d", databases.Add(1))
}

// batch is n rejects of a chunk.
func batch(table clickhouse.Table, id string, chunk uint64, n int) clickhouse.RejectBatch {
	b := clickhouse.RejectBatch{Chunk: job.Chunk{Job: id, Ordinal: chunk}, Table: table, Pipeline: "p", Input: "data/a.csv", Worker: "w1"}
	for i := range n {
		b.Rows = append(b.Rows, job.Reject{Record: uint64(i + 1), Offset: int64(10 * i), Raw: fmt.Sprintf("%d,raw", i), Column: "delay", Reason: "300 does not fit UInt8"}) //nolint:gosec // small
	}
	return b
}

func reject(t *testing.T, c *clickhouse.Client, b clickhouse.RejectBatch) {
	t.Helper()
	if err := c.AppendRejects(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func rejects(t *testing.T, c *clickhouse.Client, f clickhouse.RejectFilter) []clickhouse.RejectRow {
	t.Helper()
	var rows []clickhouse.RejectRow
	if err := c.Rejects(t.Context(), f, func(r clickhouse.RejectRow) error { rows = append(rows, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestRejectsKeepEveryField(t *testing.T) {
	t.Parallel()
	c, id := jobs(t)
	b := clickhouse.RejectBatch{
		Chunk: job.Chunk{Job: id, Ordinal: job.MaxOrdinal, Generation: 3}, Table: clickhouse.Table{Name: "t"},
		Pipeline: "it's", Input: "s3://b/k#row group 7", Worker: "w\n1",
		Rows: []job.Reject{{Record: 1 << 60, Offset: -1, Raw: "a\x00\xff\"\n'b", Cut: true, Column: "c ü", Reason: "no"}},
	}
	before := time.Now().Add(-time.Second)
	reject(t, c, b)
	got := rejects(t, c, clickhouse.RejectFilter{Job: id})
	if len(got) != 1 || got[0].RecordedAt.Before(before) || got[0].RecordedAt.After(time.Now()) {
		t.Fatalf("got %+v", got)
	}
	want := clickhouse.RejectRow{
		Reject: b.Rows[0], Job: id, Table: clickhouse.Table{Database: c.Database(), Name: "t"}, Pipeline: "it's",
		Chunk: job.MaxOrdinal, Generation: 3, Input: b.Input, Worker: b.Worker, RecordedAt: got[0].RecordedAt,
	}
	if !reflect.DeepEqual(got[0], want) {
		t.Errorf("got  %+v\nwant %+v", got[0], want)
	}
	got[0].Raw = "r" // JSON is UTF-8
	text, err := json.Marshal(got[0])
	var back clickhouse.RejectRow
	if err != nil || json.Unmarshal(text, &back) != nil || !reflect.DeepEqual(back, got[0]) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestRejectsOnceForAChunk(t *testing.T) {
	t.Parallel()
	c, id := jobs(t)
	table := clickhouse.Table{Name: "t"}
	count := func(want uint64) {
		t.Helper()
		if n, err := c.CountRejects(t.Context(), id); n != want || err != nil {
			t.Errorf("%d rows in quarantine, want %d: %v", n, want, err)
		}
	}
	count(0)
	reject(t, c, batch(table, id, 7, 0))
	count(0)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			b := batch(table, id, 7, 100)
			b.Worker = fmt.Sprint("w", i)
			errs[i] = c.AppendRejects(t.Context(), b)
		})
	}
	wg.Wait()
	for _, err := range errs {
		var x *clickhouse.Exception
		if err != nil && (!errors.As(err, &x) || x.Code != 216 || job.ClassOf(err) != job.SlowDown) {
			t.Error(err)
		}
	}
	count(100)
	reject(t, c, batch(table, id, 7, 100)) // an attempt that comes late
	count(100)
	reject(t, c, batch(table, id, 8, 3))
	reject(t, c, batch(table, id+"-b", 7, 5))
	count(103)
}

func TestRejectsAreFiltered(t *testing.T) {
	t.Parallel()
	c, id := jobs(t)
	table := clickhouse.Table{Name: "t"}
	for _, chunk := range []uint64{job.FirstReplacement, 10, 2} {
		b := batch(table, id, chunk, 4)
		b.Rows[2].Column, b.Rows[2].Reason = "city", "'Ünna' is no city"
		b.Rows[0], b.Rows[3] = b.Rows[3], b.Rows[0] // the order is not that of writing
		reject(t, c, b)
	}
	two := uint64(2)
	for name, tc := range map[string]struct {
		filter clickhouse.RejectFilter
		want   string
	}{
		"all":            {clickhouse.RejectFilter{}, "2.1 2.2 2.3 2.4 10.1 10.2 10.3 10.4 2147483648.1 2147483648.2 2147483648.3 2147483648.4"},
		"a chunk":        {clickhouse.RejectFilter{Chunk: &two}, "2.1 2.2 2.3 2.4"},
		"a column":       {clickhouse.RejectFilter{Column: "city"}, "2.3 10.3 2147483648.3"},
		"a reason":       {clickhouse.RejectFilter{Reason: "ünna' IS", Chunk: &two}, "2.3"},
		"no reason":      {clickhouse.RejectFilter{Reason: "%"}, ""},
		"a page":         {clickhouse.RejectFilter{Limit: 3, Offset: 3}, "2.4 10.1 10.2"},
		"the rest":       {clickhouse.RejectFilter{Offset: 10}, "2147483648.3 2147483648.4"},
		"behind the end": {clickhouse.RejectFilter{Offset: 100, Limit: 5}, ""},
	} {
		tc.filter.Job = id
		var got []string
		for _, r := range rejects(t, c, tc.filter) {
			got = append(got, fmt.Sprintf("%d.%d", r.Chunk, r.Record))
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%s: got %s, want %s", name, s, tc.want)
		}
	}

	groups, err := c.RejectGroups(t.Context(), id, 0)
	if err != nil || len(groups) != 2 {
		t.Fatalf("got %+v, %v", groups, err)
	}
	if g := groups[0]; g.Column != "delay" || g.Rows != 9 || g.First.Chunk != 2 || g.First.Record != 1 || g.First.Raw != "0,raw" {
		t.Errorf("got %+v", g)
	}
	if g := groups[1]; g.Column != "city" || g.Reason != "… is no city" || g.First.Reason != "'Ünna' is no city" || g.Rows != 3 || g.First.Chunk != 2 || g.First.Record != 3 {
		t.Errorf("got %+v", g)
	}
	if groups, err = c.RejectGroups(t.Context(), id, 1); len(groups) != 1 || err != nil {
		t.Errorf("got %+v, %v", groups, err)
	}
	if groups, err = c.RejectGroups(t.Context(), "nobody", 1); len(groups) != 0 || err != nil {
		t.Errorf("got %+v, %v", groups, err)
	}

	var chunks []string
	err = c.RejectedChunks(t.Context(), id, func(chunk, rows, bytes uint64) error {
		chunks = append(chunks, fmt.Sprintf("%d:%d:%d", chunk, rows, bytes))
		return nil
	})
	if got := strings.Join(chunks, " "); got != "2:4:24 10:4:24 2147483648:4:24" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}

	// The caller may have enough, or fail; the connection is free afterwards.
	mine := errors.New("mine")
	for _, tc := range []struct{ from, want error }{{clickhouse.ErrStop, nil}, {mine, mine}, {fmt.Errorf("%w", clickhouse.ErrStop), nil}} {
		for range 20 { // more than there are connections
			n := 0
			err := c.Rejects(t.Context(), clickhouse.RejectFilter{Job: id}, func(clickhouse.RejectRow) error { n++; return tc.from })
			if n != 1 || !errors.Is(err, tc.want) {
				t.Fatalf("called %d times, got %v", n, err)
			}
			n = 0
			err = c.RejectedChunks(t.Context(), id, func(_, _, _ uint64) error { n++; return tc.from })
			if n != 1 || !errors.Is(err, tc.want) {
				t.Fatalf("called %d times, got %v", n, err)
			}
		}
	}
}

func TestRawRejects(t *testing.T) {
	t.Parallel()
	c, id := jobs(t)
	b := batch(clickhouse.Table{Name: "t"}, id, 5, 0)
	b.Rows = []job.Reject{
		{Record: 3, Raw: "c,\"x\ny\""},
		{Record: 1, Raw: "a\xff\x00"},
		{Record: 2, Raw: "", Column: "k"},
		{Record: 3, Raw: "c,\"x\ny\"", Column: "another"}, // of one record, two values
		{Record: 4, Raw: "cut", Cut: true, Column: "k"},
		{Record: 4, Raw: "cut", Cut: true, Column: "l"},
		{Record: 5, Raw: "e"},
	}
	reject(t, c, b)
	b = batch(clickhouse.Table{Name: "t"}, id, 6, 0)
	for i := range 20000 { // some more than fits any buffer
		b.Rows = append(b.Rows, job.Reject{Record: uint64(i), Raw: strings.Repeat("x", 199)}) //nolint:gosec // small
	}
	reject(t, c, b)
	r, err := c.RawRejects(t.Context(), id, 5)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if want := "a\xff\x00\n\nc,\"x\ny\"\ne\n"; string(got) != want || err != nil || r.Records != 4 || r.Cut != 1 {
		t.Errorf("got %q, %v, %d records, %d cut", got, err, r.Records, r.Cut)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if r, err = c.RawRejects(t.Context(), id, 6); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r); n != 20000*200 || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}
	r.Close()
	for range 20 { // left half-way, by more readers than there are connections
		if r, err = c.RawRejects(t.Context(), id, 6); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 10)); err != nil {
			t.Error(err)
		}
		r.Close()
	}
	if r, err = c.RawRejects(t.Context(), id, 7); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); len(got) != 0 || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	r.Close()
}
