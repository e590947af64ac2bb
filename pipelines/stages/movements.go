package stages

import (
	"errors"
	"fmt"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/stage"
)

// MovementsSettings are the settings of the stage movements.
type MovementsSettings struct {
	Speed int `json:"speed"` // miles an hour in the air; default 450
}

// taxi is the time on the ground that is added to that in the air.
const taxi = 30 * time.Minute

// Movements is a FlatMap that makes two rows of a flight: that an aircraft left
// one airport, and that it came to another, at a time that is estimated from the
// distance. It needs the columns date, delay, distance, origin and destination. A
// flight from an airport to itself is a mistake: it goes to quarantine.
func Movements(s MovementsSettings) (stage.Stage, error) {
	if s.Speed < 0 {
		return stage.Stage{}, fmt.Errorf("speed is %d; it must be above 0", s.Speed)
	}
	if s.Speed == 0 {
		s.Speed = 450
	}
	shape := stage.Shapes(
		stage.Need("date", "delay", "distance", "origin", "destination"),
		func([]job.Column) ([]job.Column, error) {
			return []job.Column{
				{Name: "airport", Type: "String"}, {Name: "other", Type: "String"},
				{Name: "kind", Type: "Enum8('departure' = 1, 'arrival' = 2)"}, {Name: "at", Type: "DateTime"},
			}, nil
		})
	return stage.FlatMap(shape, func(r *stage.Record, emit stage.Emit) error {
		f, err := flightOf(r)
		if err != nil {
			return err
		}
		arrived := f.left.Add(taxi + time.Duration(f.miles)*time.Hour/time.Duration(s.Speed)).Truncate(time.Minute)
		return errors.Join(
			movement(r, emit, f.from, f.to, "departure", f.left),
			movement(r, emit, f.to, f.from, "arrival", arrived),
		)
	}), nil
}

type flight struct {
	from, to string
	left     time.Time
	miles    int64
}

func flightOf(r *stage.Record) (f flight, err error) {
	var failed []error
	text := func(column string) string {
		v, err := r.Text(column)
		failed = append(failed, err)
		return v
	}
	number := func(column string) int64 {
		n, err := r.Int(column)
		failed = append(failed, err)
		return n
	}
	f.from, f.to, f.miles = text("origin"), text("destination"), number("distance")
	scheduled, err := time.Parse("2006/01/02 15:04", text("date"))
	f.left = scheduled.Add(time.Duration(number("delay")) * time.Minute)
	switch err = errors.Join(append(failed, err)...); {
	case err != nil:
		return f, err
	case f.from == f.to:
		return f, fmt.Errorf("the flight leaves %s for %[1]s", f.from)
	case f.miles < 0:
		return f, fmt.Errorf("the distance is %d miles", f.miles)
	}
	return f, nil
}

// movement hands on one row.
func movement(r *stage.Record, emit stage.Emit, airport, other, kind string, at time.Time) error {
	err := errors.Join(r.Set("airport", airport), r.Set("other", other), r.Set("kind", kind), r.Set("at", at))
	if err != nil {
		return err
	}
	return emit(r)
}
