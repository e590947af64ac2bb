package postgres

import (
	"testing"

	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/keyed/keyedtest"
	"drayage/pkg/source/sourcetest"
)

// The server never sees more connections than there are seats, however chunks
// end, and each seat comes back.
func TestSeats(t *testing.T) {
	exec(t, "CREATE TABLE seated (id int4 PRIMARY KEY, v text); INSERT INTO seated SELECT i, repeat('x', 1000) FROM generate_series(1, 4000) i")
	keyedtest.Seats(t, database, keyed.Config{Table: "seated"}, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'drayage'")
}

// A connection whose seat is lost is closed.
func TestSeatLost(t *testing.T) {
	exec(t, "CREATE TABLE lost (id int4 PRIMARY KEY, v text); INSERT INTO lost SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i")
	sourcetest.SeatLost(t, func(seats source.Seats) source.Source { return mustNew(t, Config{Table: "lost", Seats: seats}) })
}
