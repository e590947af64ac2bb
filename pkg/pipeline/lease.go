package pipeline

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// MaxSeats bounds the seats of a lease.
const MaxSeats = 256

// Lease is a number of seats under a name, written "orders-db:4". All jobs that
// name it share the seats.
type Lease struct {
	Name  string
	Seats int // 0: there is no lease
}

// UnmarshalYAML reads "orders-db:4".
func (l *Lease) UnmarshalYAML(decode func(any) error) error {
	text, err := scalar(decode)
	if err != nil {
		return err
	}
	return l.parse(text)
}

func (l *Lease) parse(text string) error {
	name, seats, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(strings.TrimSpace(seats))
	if name = strings.TrimSpace(name); err != nil || n < 1 || n > MaxSeats || !goodName.MatchString(name) {
		return fmt.Errorf("%q is not a lease; write a name of a-z, 0-9, _ and -, and 1 to %d connections, such as orders-db:4", text, MaxSeats)
	}
	*l = Lease{name, n}
	return nil
}

// String writes what UnmarshalYAML reads, and nothing where there is no lease.
func (l Lease) String() string {
	if l.Seats == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", l.Name, l.Seats)
}

// MarshalJSON writes what String does.
func (l Lease) MarshalJSON() ([]byte, error) { return json.Marshal(l.String()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (l *Lease) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil || s == "" {
		return err
	}
	return l.parse(s)
}
