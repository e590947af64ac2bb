package pipeline

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"drayage/pkg/job"
)

// Size is a number of bytes, written "64MiB", "1GB" or 1048576.
type Size int64

// UnmarshalYAML reads a size. It refuses negative and unreadable ones.
func (s *Size) UnmarshalYAML(decode func(any) error) error {
	text, err := scalar(decode)
	if err != nil {
		return err
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || int64(n) < 0 {
		return fmt.Errorf("%q is not a size; write a number of bytes or 64MiB, 1GB", text)
	}
	*s = Size(n)
	return nil
}

// String writes the size in binary units.
func (s Size) String() string { return humanize.IBytes(uint64(s)) }

// Strings is one string or a list of them.
type Strings []string

// UnmarshalYAML reads a string or a list of strings.
func (s *Strings) UnmarshalYAML(decode func(any) error) error {
	var many []string
	if err := decode(&many); err == nil {
		*s = many
		return nil
	}
	var one string
	if err := decode(&one); err != nil {
		return err
	}
	*s = Strings{one}
	return nil
}

// Expressions are SQL expressions with commas between them, as one text or as a
// list.
type Expressions string

// UnmarshalYAML reads a string or a list of strings.
func (e *Expressions) UnmarshalYAML(decode func(any) error) error {
	var list Strings
	if err := list.UnmarshalYAML(decode); err != nil {
		return err
	}
	*e = Expressions(strings.Join(list, ", "))
	return nil
}

// Backoff is a range of pauses, written "1s..2m": the first and the longest.
type Backoff struct{ Min, Max time.Duration }

// DefaultBackoff is the backoff of a pipeline that names none.
var DefaultBackoff = Backoff{time.Second, 2 * time.Minute}

// Delay is the pause after the given attempt (from 1): it doubles from Min to
// Max, less up to a fifth of itself at random so that chunks that failed
// together do not return together.
func (b Backoff) Delay(attempt int) time.Duration {
	d := b.Min
	for i := 1; i < attempt && d < b.Max; i++ {
		d *= 2
	}
	d = min(d, b.Max)
	return d - time.Duration(rand.Int64N(int64(d)/5+1))
}

func (b Backoff) String() string { return b.Min.String() + ".." + b.Max.String() }

// UnmarshalYAML reads "1s..2m", or "5s" for a constant pause.
func (b *Backoff) UnmarshalYAML(decode func(any) error) error {
	text, err := scalar(decode)
	if err != nil {
		return err
	}
	return b.parse(text)
}

// MarshalJSON writes the form that UnmarshalJSON reads.
func (b Backoff) MarshalJSON() ([]byte, error) { return json.Marshal(b.String()) }

// UnmarshalJSON reads "1s..2m".
func (b *Backoff) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	return b.parse(s)
}

func (b *Backoff) parse(s string) error {
	low, high, found := strings.Cut(s, "..")
	if !found {
		high = low
	}
	lo, err1 := time.ParseDuration(strings.TrimSpace(low))
	hi, err2 := time.ParseDuration(strings.TrimSpace(high))
	if err1 != nil || err2 != nil || lo <= 0 || hi < lo {
		return fmt.Errorf("%q is not a backoff; write a shortest and a longest pause such as 1s..2m", s)
	}
	*b = Backoff{lo, hi}
	return nil
}

// UnmarshalYAML reads columns as ParseColumns does.
func (c *Columns) UnmarshalYAML(decode func(any) error) error {
	text, err := scalar(decode)
	if err != nil {
		return err
	}
	*c, err = ParseColumns(text)
	return err
}

// String writes the columns as ParseColumns reads them.
func (c Columns) String() string {
	parts := make([]string, len(c))
	for i, col := range c {
		parts[i] = "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(col.Name) + "` " + col.Type
	}
	return strings.Join(parts, ", ")
}

// MarshalJSON writes what String does.
func (c Columns) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// UnmarshalJSON reads what MarshalJSON writes, and the list of columns that
// jobs of earlier versions froze.
func (c *Columns) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		return json.Unmarshal(data, (*[]job.Column)(c))
	}
	cols, err := ParseColumns(text)
	*c = cols
	return err
}

// scalar decodes a YAML scalar of any type as text.
func scalar(decode func(any) error) (string, error) {
	var v any
	if err := decode(&v); err != nil {
		return "", err
	}
	switch v.(type) {
	case map[string]any, []any, nil:
		return "", fmt.Errorf("one value is expected")
	}
	return fmt.Sprint(v), nil
}
