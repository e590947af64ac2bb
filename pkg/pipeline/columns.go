package pipeline

import (
	"fmt"
	"strings"

	"drayage/pkg/job"
)

// ParseColumns reads a list of columns as CREATE TABLE has it: names, bare or
// in backquotes or double quotes, each followed by a ClickHouse type. The type
// is not checked here; the engine does that. Names must differ.
func ParseColumns(s string) ([]job.Column, error) {
	parts, err := splitTop(s)
	if err != nil {
		return nil, err
	}
	var cols []job.Column
	seen := map[string]bool{}
	for _, part := range parts {
		name, typ, err := cutName(part)
		if err != nil {
			return nil, err
		}
		if typ == "" {
			return nil, fmt.Errorf("column %s has no type; write %s String", name, name)
		}
		if seen[name] {
			return nil, fmt.Errorf("column %s is declared twice", name)
		}
		seen[name] = true
		cols = append(cols, job.Column{Name: name, Type: typ})
	}
	return cols, nil
}

// splitTop splits at the commas that stand outside parentheses and quotes.
func splitTop(s string) ([]string, error) {
	var parts []string
	depth, start := 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return nil, fmt.Errorf("columns: a ) too many after %q", s[:i])
			}
		case '\'', '"', '`':
			end := closing(s, i)
			if end < 0 {
				return nil, fmt.Errorf("columns: the quote %c before %q is not closed", c, s[i+1:])
			}
			i = end
		case ',':
			if depth == 0 {
				parts = append(parts, s[start:i])
				start = i + 1
			}
		}
	}
	if depth > 0 {
		return nil, fmt.Errorf("columns: %d ( without )", depth)
	}
	if last := s[start:]; strings.TrimSpace(last) != "" {
		parts = append(parts, last)
	} else if len(parts) == 0 {
		return nil, fmt.Errorf("columns: none given; write name Type, name Type")
	}
	return parts, nil
}

// closing finds the quote that closes the one at s[i]; a backslash or a
// doubled quote escapes it. It returns -1 when there is none.
func closing(s string, i int) int {
	q := s[i]
	for j := i + 1; j < len(s); j++ {
		switch {
		case s[j] == '\\':
			j++
		case s[j] == q && j+1 < len(s) && s[j+1] == q:
			j++
		case s[j] == q:
			return j
		}
	}
	return -1
}

func cutName(part string) (name, typ string, err error) {
	part = strings.TrimSpace(part)
	if part == "" {
		return "", "", fmt.Errorf("columns: nothing between two commas")
	}
	if q := part[0]; q == '`' || q == '"' {
		end := closing(part, 0)
		name = strings.ReplaceAll(part[1:end], string([]byte{q, q}), string(q))
		name = strings.ReplaceAll(name, `\`+string(q), string(q))
		return strings.ReplaceAll(name, `\\`, `\`), strings.TrimSpace(part[end+1:]), nil
	}
	name, typ, _ = strings.Cut(strings.ReplaceAll(part, "\n", " "), " ")
	return name, strings.TrimSpace(typ), nil
}
