package queue_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drayage/pkg/queue"
)

// However many ask, on however many connections, never more hold a seat than
// there are, and each gets one.
func TestSeats(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		const seats, each = 2, 4
		var held, most, got atomic.Int64
		var group sync.WaitGroup
		for range 3 {
			take := b.connect().Seats(queue.SeatConfig{Name: "orders-db", Seats: seats, Holder: "test"})
			for range each {
				group.Go(func() {
					c, release, err := take(ctx(t))
					if err != nil {
						t.Error(err)
						return
					}
					for n := held.Add(1); ; {
						m := most.Load()
						if n <= m || most.CompareAndSwap(m, n) {
							break
						}
					}
					if c.Err() != nil {
						t.Errorf("the seat is lost: %v", context.Cause(c))
					}
					time.Sleep(5 * time.Millisecond) // others would find it free by now
					got.Add(1)
					held.Add(-1)
					release()
				})
			}
		}
		group.Wait()
		if got.Load() != 3*each || most.Load() > seats {
			t.Errorf("%d got a seat, at most %d at once", got.Load(), most.Load())
		}
		take := b.connect().Seats(queue.SeatConfig{Name: "orders-db", Seats: seats, Holder: "test"})
		for range seats { // all of them can be had at once
			_, release, err := take(ctx(t))
			if err != nil {
				t.Fatal(err)
			}
			defer release()
		}
		taken, err := b.q.SeatsTaken(ctx(t))
		if err != nil || len(taken) != seats {
			t.Fatalf("taken are %v (%v)", taken, err)
		}
		for _, s := range taken {
			if s.Name != "orders-db" || s.Holder != "test" || s.Since.IsZero() {
				t.Errorf("a seat is %+v", s)
			}
		}
	})
}

func TestSeatsRefuse(t *testing.T) {
	onEach(t, func(t *testing.T, b *bundle) {
		for _, cfg := range []queue.SeatConfig{{Name: "db"}, {Name: "A b", Seats: 1}, {Name: "db", Seats: queue.MaxSeats + 1}} {
			if _, _, err := b.q.Seats(cfg)(ctx(t)); !errors.Is(err, queue.ErrInvalid) {
				t.Errorf("%+v gives %v", cfg, err)
			}
		}
		one := b.q.Seats(queue.SeatConfig{Name: "db", Seats: 1})
		_, release, err := one(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		short, cancel := context.WithTimeout(ctx(t), 50*time.Millisecond)
		defer cancel()
		if _, _, err := one(short); err == nil {
			t.Error("one seat is taken twice")
		}
	})
}
