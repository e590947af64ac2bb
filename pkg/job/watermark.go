package job

import (
	"fmt"
	"regexp"
	"strconv"
)

// Watermark says by which column the rows of a table are new.
type Watermark struct {
	// Column only grows: rows that are written or changed later have a larger
	// value, but for the Lookback. Rows where it is NULL are never read.
	Column string
	// Lookback is how far below the largest value that was read before reading
	// begins again, for rows that came late.
	Lookback Lookback
}

// Lookback is a distance between values of a column: a number, or a time.
type Lookback struct {
	N    uint64 // 0: none
	Unit string // second, minute, hour, day, week, month or year; empty for a number
}

var lookback = regexp.MustCompile(`^([0-9]{1,18})(?:\s+(second|minute|hour|day|week|month|year)s?)?$`)

// ParseLookback reads "1000", "1 hour", "3 days".
func ParseLookback(text string) (Lookback, error) {
	m := lookback.FindStringSubmatch(text)
	if m == nil {
		return Lookback{}, fmt.Errorf("%q is no distance; write a number, or 1 hour, 3 days and the like", text)
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	return Lookback{n, m[2]}, err
}
