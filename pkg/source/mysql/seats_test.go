package mysql

import (
	"strconv"
	"testing"

	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
)

// The server never sees more connections to the database than there are seats,
// however chunks end, and each seat comes back.
func TestSeats(t *testing.T) {
	exec(t, `CREATE USER seated; GRANT SELECT ON test.* TO seated;
CREATE TABLE seated (id int PRIMARY KEY, v text); INSERT INTO seated SELECT seq, repeat('x', 1000) FROM seq_1_to_4000; ANALYZE TABLE seated`)
	seats, taken := sourcetest.Bench(2)
	s := mustNew(t, Config{URL: db.URL("seated", ""), Table: "seated", Rows: 1000, Seats: seats})
	if s.Size(t.Context()) < 4_000_000 {
		t.Error("the table has no size")
	}
	sourcetest.Seated(t, s, taken, func() (int, error) {
		n, err := db.Exec(t.Context(), "SELECT count(*) FROM information_schema.processlist WHERE user = 'seated' AND db IS NOT NULL")
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(n)
	})
}

// A connection whose seat is lost is closed.
func TestSeatLost(t *testing.T) {
	exec(t, "CREATE TABLE lost (id int PRIMARY KEY, v text); INSERT INTO lost SELECT seq, repeat('x', 1000) FROM seq_1_to_20000")
	sourcetest.SeatLost(t, func(seats source.Seats) source.Source { return mustNew(t, Config{Table: "lost", Seats: seats}) })
}
