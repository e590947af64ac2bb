package mysql

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// bench gives a number of seats.
func bench(n int) (source.Seats, chan struct{}) {
	free := make(chan struct{}, n)
	return func(ctx context.Context) (context.Context, func(), error) {
		select {
		case free <- struct{}{}:
			return ctx, func() { <-free }, nil
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}, free
}

// The server never sees more connections to the database than there are seats,
// however chunks end, and each seat comes back.
func TestSeats(t *testing.T) {
	exec(t, `CREATE USER seated; GRANT SELECT ON test.* TO seated;
CREATE TABLE seated (id int PRIMARY KEY, v text); INSERT INTO seated SELECT seq, repeat('x', 1000) FROM seq_1_to_4000; ANALYZE TABLE seated`)
	const seats = 2
	take, free := bench(seats)
	s := mustNew(t, Config{URL: db.URL("seated", ""), Table: "seated", Rows: 1000, Seats: take})
	columns := columnsOf(t, s)
	chunks, err := plan(t, s, nil, columns)
	if err != nil || len(chunks) != 4 {
		t.Fatalf("%d chunks, %v", len(chunks), err)
	}
	watched := make(chan int)
	over := make(chan struct{})
	go func() {
		// One connection of its own, which asks again and again.
		most := 0
		for {
			n, err := db.Exec(t.Context(), "SELECT count(*) FROM information_schema.processlist WHERE user = 'seated' AND db IS NOT NULL")
			count, err2 := strconv.Atoi(n)
			if errors.Join(err, err2) != nil {
				count = 1000
			}
			most = max(most, count)
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
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				in, err := s.Open(ctx, p.Input, columns)
				if err != nil {
					t.Error(err)
					return
				}
				switch i % 3 {
				case 0: // read to its end
					_, err = io.Copy(io.Discard, in.Reader)
				case 1: // left in its middle
					_, err = io.ReadFull(in.Reader, make([]byte, 10))
				case 2: // cancelled in its middle
					_, err = io.ReadFull(in.Reader, make([]byte, 10))
					stop()
				}
				if err := errors.Join(err, in.Close()); err != nil {
					t.Error(err)
				}
			}
			if i == 0 {
				if _, err := plan(t, s, nil, columns); err != nil {
					t.Error(err)
				}
				if s.Size(t.Context()) < 4_000_000 {
					t.Error("the table has no size")
				}
			}
		})
	}
	all.Wait()
	close(over)
	if most := <-watched; most > seats || most == 0 {
		t.Errorf("there were up to %d connections at once", most)
	}
	if len(free) != 0 {
		t.Errorf("%d seats were not given back", len(free))
	}
	// Who waits for a seat is told when that is over.
	free <- struct{}{}
	free <- struct{}{}
	ctx, stop := context.WithCancelCause(t.Context())
	gone := errors.New("no more")
	stop(gone)
	if _, err := s.Open(ctx, chunks[0].Input, columns); !errors.Is(err, gone) {
		t.Errorf("waiting for a seat ends with %v", err)
	}
}

// A connection whose seat is lost is closed.
func TestSeatLost(t *testing.T) {
	exec(t, "CREATE TABLE lost (id int PRIMARY KEY, v text); INSERT INTO lost SELECT seq, repeat('x', 1000) FROM seq_1_to_20000")
	lost := errors.New("the seat is lost")
	var lose context.CancelCauseFunc
	s := mustNew(t, Config{Table: "lost", Seats: func(ctx context.Context) (context.Context, func(), error) {
		held, stop := context.WithCancelCause(ctx)
		lose = stop
		return held, func() { stop(nil) }, nil
	}})
	columns := columnsOf(t, s)
	chunks, err := plan(t, s, nil, columns)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Open(t.Context(), chunks[0].Input, columns)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(in.Reader, make([]byte, 10)); err != nil {
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
