package mysql

import (
	"testing"

	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/keyed/keyedtest"
	"drayage/pkg/source/sourcetest"
)

// The server never sees more connections to the database than there are seats,
// however chunks end, and each seat comes back.
func TestSeats(t *testing.T) {
	exec(t, `CREATE USER seated; GRANT SELECT ON test.* TO seated;
CREATE TABLE seated (id int PRIMARY KEY, v text); INSERT INTO seated SELECT seq, repeat('x', 1000) FROM seq_1_to_4000; ANALYZE TABLE seated`)
	keyedtest.Seats(t, database, keyed.Config{URL: db.URL("seated", ""), Table: "seated"}, "SELECT count(*) FROM information_schema.processlist WHERE user = 'seated' AND db IS NOT NULL")
}

// A connection whose seat is lost is closed.
func TestSeatLost(t *testing.T) {
	exec(t, "CREATE TABLE lost (id int PRIMARY KEY, v text); INSERT INTO lost SELECT seq, repeat('x', 1000) FROM seq_1_to_20000")
	sourcetest.SeatLost(t, func(seats source.Seats) source.Source { return mustNew(t, Config{Table: "lost", Seats: seats}) })
}
