package sourcetest

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Bench gives a number of seats; taken has as many elements as are taken.
func Bench(n int) (seats source.Seats, taken chan struct{}) {
	taken = make(chan struct{}, n)
	return func(ctx context.Context) (context.Context, func(), error) {
		select {
		case taken <- struct{}{}:
			return ctx, func() { <-taken }, nil
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}, taken
}

// Seated tests that a source which was made with the seats of a Bench never has
// more connections than that, and gives each seat back, however its chunks end:
// read, left or cancelled, while it plans as well. connections asks the server
// how many there are at this moment; a source of several chunks of at least ten
// bytes proves most.
func Seated(t *testing.T, s source.Source, taken chan struct{}, connections func() (int, error)) {
	t.Helper()
	columns := Columns(t, s)
	chunks, err := Plan(t, s, nil, columns)
	if err != nil || len(chunks) < 2 {
		t.Fatalf("%d chunks, %v", len(chunks), err)
	}
	watched, over := make(chan int), make(chan struct{})
	go func() {
		most, before := 0, 0
		for {
			n, err := connections()
			if err != nil {
				t.Error(err)
			}
			// Of a connection that a server has closed it may still tell at one look,
			// but not at two.
			most, before = max(most, min(n, before)), n
			select {
			case <-over:
				watched <- most
				return
			default:
			}
		}
	}()
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			for _, p := range chunks {
				if err := end(t.Context(), s, p, columns, i%3); err != nil {
					t.Error(err)
				}
			}
			if i == 0 {
				if _, err := Plan(t, s, nil, columns); err != nil {
					t.Error(err)
				}
				s.Size(t.Context())
			}
		})
	}
	all.Wait()
	close(over)
	if most := <-watched; most > cap(taken) || most == 0 {
		t.Errorf("there were up to %d connections at once, of %d seats", most, cap(taken))
	}
	if len(taken) != 0 {
		t.Errorf("%d seats were not given back", len(taken))
	}
	// Who waits for a seat is told when that is over.
	for range cap(taken) {
		taken <- struct{}{}
	}
	ctx, stop := context.WithCancelCause(t.Context())
	gone := errors.New("no more")
	stop(gone)
	if _, err := s.Open(ctx, chunks[0].Input, columns); !errors.Is(err, gone) {
		t.Errorf("waiting for a seat ends with %v", err)
	}
}

// end opens a chunk, and ends it in one of three ways.
func end(ctx context.Context, s source.Source, p source.Planned, columns []job.Column, way int) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	in, err := s.Open(ctx, p.Input, columns)
	if err != nil {
		return err
	}
	switch way {
	case 0: // read to its end
		_, err = io.Copy(io.Discard, in.Reader)
	case 1: // left in its middle
		_, err = io.ReadFull(in.Reader, make([]byte, 10))
	case 2: // cancelled in its middle
		_, err = io.ReadFull(in.Reader, make([]byte, 10))
		stop()
	}
	return errors.Join(err, in.Close())
}

// SeatLost tests that a source whose seat is lost in the middle of a chunk ends it
// with the reason. make makes it with the seats; its first chunk must be larger than
// what is read ahead.
func SeatLost(t *testing.T, make func(source.Seats) source.Source) {
	t.Helper()
	lost := errors.New("the seat is lost")
	var lose context.CancelCauseFunc
	s := make(func(ctx context.Context) (context.Context, func(), error) {
		held, stop := context.WithCancelCause(ctx)
		lose = stop
		return held, func() { stop(nil) }, nil
	})
	columns := Columns(t, s)
	chunks, err := Plan(t, s, nil, columns)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Open(t.Context(), chunks[0].Input, columns)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Reader.Read([]byte{0}); err != nil {
		t.Fatal(err)
	}
	lose(lost)
	if _, err := io.Copy(io.Discard, in.Reader); !errors.Is(err, lost) || job.ClassOf(err) != job.Retry {
		t.Errorf("the chunk ends with %v", err)
	}
	if err := in.Check(); !errors.Is(err, lost) {
		t.Errorf("the check says %v", err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
}
