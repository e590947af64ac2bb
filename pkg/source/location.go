package source

import (
	"encoding/json"
	"fmt"
)

// Units of a Location.
const (
	UnitBytes  = "bytes"
	UnitGroups = "row groups"
)

// Location is where the input of a chunk is, for people and for quarantine.
type Location struct {
	// Name is the file, table or object, as the pipeline names it.
	Name string
	// Unit, when it is not empty, is what Start and End count: the input is
	// the part [Start, End) of Name. Empty: the whole.
	Unit       string
	Start, End int64
	// Offset is where the first byte of the input, as Open gives it, is in
	// Name. It is -1 where bytes of the input have no place of their own in
	// it: compressed or binary input, and what is no file.
	Offset int64
}

// String is such as "data/a.csv bytes 0-1048576"; the end is not included.
func (l Location) String() string {
	if l.Unit == "" {
		return l.Name
	}
	return fmt.Sprintf("%s %s %d-%d", l.Name, l.Unit, l.Start, l.End)
}

// Locator is a Source that can say where the input of a chunk is.
type Locator interface {
	// Locate opens nothing. Its error says that input is not of this source.
	Locate(input json.RawMessage) (Location, error)
}

// Place says where the input of a chunk of s is, for people: what Locate says,
// or else the description itself.
func Place(s Source, input json.RawMessage) string {
	if l, ok := s.(Locator); ok {
		if at, err := l.Locate(input); err == nil {
			return at.String()
		}
	}
	return string(input)
}
