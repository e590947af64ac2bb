package pipeline

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// RowLimit is a number of rows, written 100, or a part of them, written 0.1%.
type RowLimit struct {
	Rows    uint64
	Percent float64 // when Relative
	// Relative is true when Percent counts, and not Rows.
	Relative bool
}

// DefaultRejects is the limit of a pipeline that names none.
var DefaultRejects = RowLimit{Percent: 10, Relative: true}

// Of is the limit for so many records, in rows: a part is rounded up, so that
// one row does not fail a small chunk, and never more than MaxRejects.
func (l RowLimit) Of(records uint64) uint64 {
	if !l.Relative {
		return min(l.Rows, MaxRejects)
	}
	return min(uint64(math.Ceil(float64(records)*l.Percent/100-1e-9)), MaxRejects)
}

// String is the form that the pipeline file has.
func (l RowLimit) String() string {
	if l.Relative {
		return strconv.FormatFloat(l.Percent, 'f', -1, 64) + "%"
	}
	return strconv.FormatUint(l.Rows, 10)
}

// UnmarshalYAML reads "0.1%" or a number of rows.
func (l *RowLimit) UnmarshalYAML(decode func(any) error) error {
	text, err := scalar(decode)
	if err != nil {
		return err
	}
	return l.parse(text)
}

// MarshalJSON writes the form that UnmarshalJSON reads.
func (l RowLimit) MarshalJSON() ([]byte, error) { return json.Marshal(l.String()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (l *RowLimit) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	return l.parse(s)
}

func (l *RowLimit) parse(s string) error {
	number, relative := strings.CutSuffix(strings.TrimSpace(s), "%")
	if relative {
		percent, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err == nil && !math.IsNaN(percent) && !math.IsInf(percent, 0) {
			*l = RowLimit{Percent: percent, Relative: true}
			return nil
		}
	} else if rows, err := strconv.ParseUint(number, 10, 64); err == nil {
		*l = RowLimit{Rows: rows}
		return nil
	}
	return fmt.Errorf("%q is not a number of rows; write a part of the chunk's rows such as 0.1%%, or a number such as 100", s)
}
