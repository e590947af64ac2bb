package borders

import (
	"errors"
	"strings"
)

// The readers here are slow and written one letter at a time after what
// ClickHouse does; the cutters are checked against them.

var (
	errOpenQuote = errors.New("a quote is not closed")
	errTwoWays   = errors.New("a carriage return can be read in two ways")
	errSyntax    = errors.New("no such format")
)

// csvRecords returns where the records of text end, with the places where no
// cut is allowed left out.
func csvRecords(text string, delimiter, quote byte) (ends []int, err error) {
	at := func(i int) byte {
		if i < len(text) {
			return text[i]
		}
		return 0
	}
	i := 0
	for i < len(text) {
		// A record: fields up to a newline outside quotes.
		for {
			for delimiter != '\t' && (at(i) == ' ' || at(i) == '\t') {
				i++
			}
			if quote != 0 && i < len(text) && text[i] == quote {
				for i++; ; i++ {
					if i >= len(text) {
						return ends, errOpenQuote
					}
					if text[i] != quote {
						continue
					}
					if at(i+1) != quote || i+1 >= len(text) {
						break
					}
					i++
				}
				i++
			}
			for i < len(text) && text[i] != delimiter && text[i] != '\n' {
				i++
			}
			if i >= len(text) || text[i] == '\n' {
				break
			}
			i++
		}
		if i >= len(text) {
			break
		}
		crlf := i > 0 && text[i-1] == '\r'
		i++
		switch {
		case at(i) != '\r' || i >= len(text):
		case !crlf:
			i++
		default:
			// The CR after CRLF may or may not belong to the line's end:
			// that decides whether a quote after it opens.
			j := i + 1
			for delimiter != '\t' && (at(j) == ' ' || at(j) == '\t') {
				j++
			}
			if quote != 0 && at(j) == quote && j < len(text) {
				return ends, errTwoWays
			}
			continue
		}
		ends = append(ends, i)
	}
	if len(ends) == 0 || ends[len(ends)-1] < len(text) {
		ends = append(ends, len(text))
	}
	return ends, nil
}

// tsvRecords is csvRecords for the TSV family.
func tsvRecords(text string, escapes bool) []int {
	var ends []int
	for i := 0; i < len(text); i++ {
		switch {
		case escapes && text[i] == '\\' && i+1 < len(text) && text[i+1] == 'x':
			i += 3
		case escapes && text[i] == '\\':
			i++
		case text[i] == '\n':
			ends = append(ends, i+1)
		}
	}
	if len(text) > 0 && (len(ends) == 0 || ends[len(ends)-1] < len(text)) {
		ends = append(ends, len(text))
	}
	return ends
}

// multilineRecords is csvRecords for records that begin with a line of which
// begins is true.
func multilineRecords(text string, begins func(line string) bool) []int {
	var ends []int
	at := 0
	for line := range strings.Lines(text) {
		if at > 0 && begins(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")) {
			ends = append(ends, at)
		}
		at += len(line)
	}
	if at > 0 {
		ends = append(ends, at)
	}
	return ends
}

// jsonRecords returns the rows of text.
func jsonRecords(text string, open byte) (rows []string, err error) {
	i := 0
	space := func() {
		for i < len(text) && strings.IndexByte(" \t\n\r\f\v", text[i]) >= 0 {
			i++
		}
	}
	row := func() bool {
		if i >= len(text) || text[i] != open {
			return false
		}
		from, depth := i, 0
		for quoted := false; i < len(text); i++ {
			switch c := text[i]; {
			case c == '\\':
				i++
			case c == '"':
				quoted = !quoted
			case quoted:
			case c == '{' || c == '[':
				depth++
			case c == '}' || c == ']':
				depth--
			}
			if depth == 0 {
				i++
				rows = append(rows, text[from:i])
				return true
			}
		}
		return false
	}
	space()
	array := open == '{' && i < len(text) && text[i] == '['
	if array {
		i++
	}
	for first := true; ; first = false {
		space()
		if open == '[' {
			marks := 0
			for i < len(text) && (text[i] == ',' || text[i] == ';') {
				i++
				marks++
				space()
			}
			if marks > 2 || first && marks > 1 || i >= len(text) && marks > 1 {
				return rows, errSyntax
			}
			if i >= len(text) {
				return rows, nil
			}
			if !row() {
				return rows, errSyntax
			}
			continue
		}
		comma := !first && i < len(text) && text[i] == ','
		if comma {
			i++
			space()
		}
		switch {
		case i >= len(text):
			if array {
				return rows, errSyntax
			}
			return rows, nil
		case array && text[i] == ']' && !comma:
			i++
			space()
			if i < len(text) && text[i] == ';' {
				i++
			}
			space()
			if i < len(text) {
				return rows, errSyntax
			}
			return rows, nil
		case !array && text[i] == ';' && !comma:
			i++
			space()
			if i < len(text) {
				return rows, errSyntax
			}
			return rows, nil
		case !row():
			return rows, errSyntax
		}
	}
}
