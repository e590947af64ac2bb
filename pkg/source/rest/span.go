package rest

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// part is what a chunk says about its input: the range from A up to and without
// Z, in days since 1970 or ids, or a value; neither is the whole.
type part struct {
	A     *int64  `json:"a,omitempty"`
	Z     *int64  `json:"z,omitempty"`
	Value *string `json:"v,omitempty"`
}

// span is a Range, cut into parts.
type span struct {
	from, to, step int64
	values         []string
	days           bool
	layout         string
	whole          bool
}

const secondsOfDay = 24 * 60 * 60

func newSpan(r Range) (span, error) {
	var s span
	switch {
	case r.Days != nil:
		s.days, s.layout, s.step = true, r.Days.Layout, int64(r.Days.Step)
		if s.step == 0 {
			s.step = 1
		}
		if s.layout == "" {
			s.layout = time.DateOnly
		}
		var err error
		if s.to, err = parseDay(r.Days.To); err != nil {
			return s, err
		}
		switch {
		case r.Days.Last != 0 && r.Days.From != "":
			return s, errors.New("it has from and last, of which one is enough")
		case r.Days.Last < 0:
			return s, errors.New("last is negative")
		case r.Days.Last > 0:
			s.from = s.to - int64(r.Days.Last)
		default:
			if s.from, err = parseDay(r.Days.From); err != nil {
				return s, err
			}
		}
	case r.IDs != nil:
		s.from, s.to, s.step = r.IDs.From, r.IDs.To, r.IDs.Step
	case len(r.Values) > 0:
		s.values = r.Values
		return s, nil
	default:
		s.whole = true
		return s, nil
	}
	switch {
	case s.step <= 0:
		return s, errors.New("its step is not above 0")
	case s.to <= s.from:
		return s, errors.New("its end is not after its begin")
	case s.from < 0 && s.to > math.MaxInt64+s.from:
		return s, errors.New("it is longer than 2^63")
	}
	return s, nil
}

// parseDay reads a day, or that of a time, as days since 1970.
func parseDay(text string) (int64, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		if t, err = time.Parse(time.DateTime, text); err != nil {
			return 0, fmt.Errorf("%q is not a day such as 2026-01-31", text)
		}
	}
	// Also of a time before 1970 the day that it is in.
	return t.Truncate(24*time.Hour).Unix() / secondsOfDay, nil
}

// count is the number of parts.
func (s span) count() uint64 {
	switch {
	case s.whole:
		return 1
	case s.values != nil:
		return uint64(len(s.values))
	}
	return uint64((s.to-s.from-1)/s.step) + 1 //nolint:gosec // to is after from
}

// at is the n-th part.
func (s span) at(n uint64) part {
	switch {
	case s.whole:
		return part{}
	case s.values != nil:
		return part{Value: &s.values[n]}
	}
	a := s.from + int64(n)*s.step //nolint:gosec // below to
	z := s.to
	if s.to-a > s.step {
		z = a + s.step
	}
	return part{A: &a, Z: &z}
}

// halves cuts a part in two, where it is longer than 1.
func (p part) halves() (first, second part, ok bool) {
	if p.A == nil || p.Z == nil || *p.Z-*p.A < 2 {
		return p, p, false
	}
	mid := *p.A + (*p.Z-*p.A)/2
	return part{A: p.A, Z: &mid}, part{A: &mid, Z: p.Z}, true
}

// text writes a day or an id.
func (s span) text(n int64) string {
	if !s.days {
		return strconv.FormatInt(n, 10)
	}
	t := time.Unix(n*secondsOfDay, 0).UTC()
	switch s.layout {
	case "unix":
		return strconv.FormatInt(t.Unix(), 10)
	case "unix_ms":
		return strconv.FormatInt(t.UnixMilli(), 10)
	}
	return t.Format(s.layout)
}

// values are those of the placeholders for p.
func (s span) vars(p part) map[string]string {
	v := map[string]string{}
	if p.A != nil && p.Z != nil {
		v["from"], v["to"], v["last"] = s.text(*p.A), s.text(*p.Z), s.text(*p.Z-1)
	}
	if p.Value != nil {
		v["value"] = *p.Value
	}
	return v
}

// label is the range or value of p, for people.
func (s span) label(p part) string {
	day := s
	day.layout = time.DateOnly
	switch {
	case p.Value != nil:
		return " " + *p.Value
	case p.A != nil && p.Z != nil:
		return " " + day.text(*p.A) + " to " + day.text(*p.Z)
	}
	return ""
}
