package postgres

import (
	"strconv"
	"testing"

	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
)

// The server never sees more connections than there are seats, however chunks
// end, and each seat comes back.
func TestSeats(t *testing.T) {
	exec(t, "CREATE TABLE seated (id int4 PRIMARY KEY, v text); INSERT INTO seated SELECT i, repeat('x', 1000) FROM generate_series(1, 4000) i")
	seats, taken := sourcetest.Bench(2)
	s := mustNew(t, Config{Table: "seated", Rows: 1000, Seats: seats})
	if s.Size(t.Context()) < 4_000_000 {
		t.Error("the table has no size")
	}
	sourcetest.Seated(t, s, taken, func() (int, error) {
		n, err := db.Exec(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'drayage'")
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(n)
	})
}

// A connection whose seat is lost is closed.
func TestSeatLost(t *testing.T) {
	exec(t, "CREATE TABLE lost (id int4 PRIMARY KEY, v text); INSERT INTO lost SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i")
	sourcetest.SeatLost(t, func(seats source.Seats) source.Source { return mustNew(t, Config{Table: "lost", Seats: seats}) })
}
