package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

// MaxSeats bounds the seats of one name: who waits for one looks at each.
const MaxSeats = 256

// seatTTL is how long the seat of a process that was killed stays taken.
const seatTTL = 15 * time.Second

// seatPause is how long one who waits for a seat looks away: the shorter the
// longer the wait has been, so that a seat goes to an early one rather than to
// one that has just come.
func seatPause(waited time.Duration) time.Duration {
	return max(leadPoll/8, time.Duration(float64(leadPoll)/(1+4*waited.Seconds())))
}

// SeatConfig says of what there are how many seats.
type SeatConfig struct {
	// Name is what is shared, with the letters of a job's id, such as a database.
	// Whoever names it should name the same number of seats.
	Name   string
	Seats  int    // 1 to MaxSeats
	Holder string // who takes them, for a person
}

// Seats returns the function that takes one of the seats of a name, all over
// the fleet: it waits for a free one until ctx ends, within a process in the
// order of the calls. Its context ends when the
// seat is lost, with the cause ErrLeadLost. A seat whose process is killed is
// free after 15 seconds. A process that was stopped for longer, and goes on,
// holds what it held for a moment more than there are seats.
func (q *Queue) Seats(cfg SeatConfig) func(ctx context.Context) (held context.Context, release func(), err error) {
	return func(ctx context.Context) (context.Context, func(), error) {
		if !job.ValidID(cfg.Name) || cfg.Seats < 1 || cfg.Seats > MaxSeats {
			return nil, nil, invalid("%.140q has %d seats: the name must be 1 to %d characters of [a-z0-9_-], the seats 1 to %d", cfg.Name, cfg.Seats, job.MaxID, MaxSeats)
		}
		names := make([]string, cfg.Seats)
		for i, n := range rand.Perm(cfg.Seats) { // or all would race for the first
			names[i] = fmt.Sprintf("%s.%d", cfg.Name, n)
		}
		done, err := q.seats.wait(ctx, cfg.Name)
		if err != nil {
			return nil, nil, q.ended(ctx, "wait for a seat of "+cfg.Name, nil)
		}
		l, err := q.leadOne(ctx, q.bucket(bucketSeats), LeadConfig{Holder: cfg.Holder, TTL: seatTTL}, names, seatPause)
		done()
		if err != nil {
			return nil, nil, fmt.Errorf("waiting for one of the %d seats of %s: %w", cfg.Seats, cfg.Name, err)
		}
		return l.Context(), l.Release, nil
	}
}

// Seat is one that is taken.
type Seat struct {
	Name   string    // of what there are seats
	Holder string    // who has it, for a person
	Since  time.Time // when it was taken
}

// SeatsTaken returns the seats that are taken now, of all names. One whose
// process was killed may be among them for some seconds.
func (q *Queue) SeatsTaken(ctx context.Context) ([]Seat, error) {
	found := map[string]Seat{}
	err := q.list(ctx, "list the seats that are taken", bucketPrefix+bucketSeats, keySubjects(bucketSeats), func(m *jetstream.RawStreamMsg) error {
		key := strings.TrimPrefix(m.Subject, q.bucket(bucketSeats).subject(""))
		end := strings.LastIndexByte(key, '.')
		var l lead
		if end < 0 || deleted(m.Header) || json.Unmarshal(m.Data, &l) != nil {
			delete(found, m.Subject)
			return nil //nolint:nilerr // not a seat
		}
		found[m.Subject] = Seat{Name: key[:end], Holder: l.Holder, Since: l.Since}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := slices.Collect(maps.Values(found))
	slices.SortFunc(all, func(a, b Seat) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.Since.Compare(b.Since), strings.Compare(a.Holder, b.Holder))
	})
	return all, nil
}
