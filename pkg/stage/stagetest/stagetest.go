// Package stagetest tests stages: that they do what they should, and that they
// give the same rows for the same record, which is what makes a chunk that is
// tried again load no row twice.
package stagetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/stage"
)

// Result is what a stage made of some records.
type Result struct {
	Columns []job.Column
	Rows    []string         // JSON, in their order
	Rejects map[int]string   // the reasons, by the record's index
	Made    map[int][]string // the rows that came of each record, by its index
}

// Run runs a stage over records, each the JSON of a row as ClickHouse writes it,
// with the columns in their order. The test fails when the stage does not suit
// the columns, or when it does not give the same for each record
//
//   - a second time, by a stage that was made anew
//   - alone, and with the records in the opposite order
//   - while others run it too
//
// Build is called for each run. What it returns is to be equal each time.
func Run(t testing.TB, build func() (stage.Stage, error), columns []job.Column, records ...string) Result {
	t.Helper()
	want, err := run(t.Context(), build, columns, records)
	if err != nil {
		t.Fatal(err)
	}
	again := func(how string, build func() (stage.Stage, error), order []int) error {
		given := make([]string, len(order))
		for i, at := range order {
			given[i] = records[at]
		}
		got, err := run(t.Context(), build, columns, given)
		if err != nil {
			return err
		}
		if !slices.Equal(got.Columns, want.Columns) {
			return fmt.Errorf("the stage has the columns %v, and %s %v", want.Columns, how, got.Columns)
		}
		for i, at := range order {
			if !slices.Equal(got.Made[i], want.Made[at]) {
				return fmt.Errorf("the record %s gives\n%s\nand %s\n%s", records[at], strings.Join(want.Made[at], "\n"), how, strings.Join(got.Made[i], "\n"))
			}
			if got.Rejects[i] != want.Rejects[at] {
				return fmt.Errorf("the record %s is rejected because of %q, and %s because of %q", records[at], want.Rejects[at], how, got.Rejects[i])
			}
		}
		return nil
	}
	order := make([]int, len(records))
	for i := range order {
		order[i] = i
	}
	if err := again("a second time", build, order); err != nil {
		t.Error(err)
	}
	for i := range order {
		if err := again("alone", build, order[i:i+1]); err != nil {
			t.Error(err)
			break
		}
	}
	slices.Reverse(order)
	if err := again("in the opposite order", build, order); err != nil {
		t.Error(err)
	}
	slices.Reverse(order)
	shared, err := build()
	if err != nil {
		t.Fatal(err)
	}
	same := func() (stage.Stage, error) { return shared, nil } //nolint:unparam // as build
	errs := make([]error, 4)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { errs[i] = again("while others run it too", same, order) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
			break
		}
	}
	return want
}

func run(ctx context.Context, build func() (stage.Stage, error), columns []job.Column, records []string) (Result, error) {
	s, err := build()
	if err != nil {
		return Result{}, fmt.Errorf("making the stage: %w", err)
	}
	r, err := stage.NewRunner(s, columns)
	if err != nil {
		return Result{}, fmt.Errorf("fitting the stage to the columns: %w", err)
	}
	res := Result{Columns: r.Columns(), Rejects: map[int]string{}, Made: map[int][]string{}}
	rows := make([]int, len(records))
	var out bytes.Buffer
	var in strings.Builder
	for _, rec := range records {
		in.WriteString(rec + "\n")
	}
	_, err = r.Run(ctx, strings.NewReader(in.String()), &out, stage.Events{
		Made:   func(record uint64, n int) { rows[record-1] = n },
		Reject: func(record uint64, reason string) error { res.Rejects[int(record-1)] = reason; return nil },
	})
	if err != nil {
		return res, err
	}
	for line := range strings.Lines(out.String()) {
		res.Rows = append(res.Rows, strings.TrimSuffix(line, "\n"))
	}
	at := 0
	for i, n := range rows {
		res.Made[i] = res.Rows[at : at+n]
		at += n
	}
	return res, nil
}
