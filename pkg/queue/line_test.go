package queue

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
)

// Who comes first is first, who gives up is passed over, and nothing is left
// of a line that nobody stands in.
func TestLines(t *testing.T) {
	t.Parallel()
	var ls lines
	first, err := ls.wait(t.Context(), "db")
	if err != nil {
		t.Fatal(err)
	}
	other, err := ls.wait(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	other()
	impatient, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { _, err := ls.wait(impatient, "db"); gone <- err }()
	ls.await("db", 1)
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	const n = 20
	order := make(chan int, n)
	for i := range n {
		go func() {
			done, err := ls.wait(t.Context(), "db")
			if err != nil {
				t.Error(err)
				return
			}
			order <- i
			done()
		}()
		ls.await("db", i+1) // the next comes when this one stands in line
	}
	first()
	var got []int
	for range n {
		got = append(got, <-order)
	}
	if !slices.IsSorted(got) {
		t.Errorf("they came in the order %v", got)
	}
	last, err := ls.wait(t.Context(), "db") // after the one before has gone
	if err != nil {
		t.Fatal(err)
	}
	last()
	if len(ls.all) != 0 {
		t.Errorf("%d lines are left", len(ls.all))
	}
}

// await waits until so many wait in a line.
func (ls *lines) await(name string, n int) {
	for waiting := -1; waiting != n; runtime.Gosched() {
		ls.mu.Lock()
		waiting = len(ls.all[name])
		ls.mu.Unlock()
	}
}
