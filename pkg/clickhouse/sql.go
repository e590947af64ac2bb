package clickhouse

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// This file is the one place where names and values become SQL, and where
// SQL is read as far as this package must: token by token, never by search.

// quoteName quotes an identifier.
func quoteName(name string) string { return quote(name, '`') }

// quoteString quotes a string value.
func quoteString(value string) string { return quote(value, '\'') }

func quote(s string, mark byte) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte(mark)
	for i := range len(s) {
		switch c := s[i]; c {
		case mark, '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case 0:
			b.WriteString(`\0`)
		case '\n':
			b.WriteString(`\n`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte(mark)
	return b.String()
}

func quoteNames(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quoteName(n)
	}
	return strings.Join(quoted, ", ")
}

// plainOrQuoted leaves a name alone that SQL takes unquoted.
func plainOrQuoted(name string) string {
	for i := range len(name) {
		if c := name[i]; !wordByte(c) || i == 0 && c >= '0' && c <= '9' {
			return quoteName(name)
		}
	}
	if name == "" {
		return quoteName(name)
	}
	return name
}

func wordByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// token is a piece of SQL: a word or number, a quoted thing, or one byte.
type token struct {
	text   string
	offset int
	quoted bool // text keeps its quotes
	depth  int  // of brackets around it
}

func (t token) is(word string) bool { return !t.quoted && strings.EqualFold(t.text, word) }

// tokens cuts SQL into tokens, comments and white space dropped. What does not
// end (a quote, a comment) ends with the text: the server reports it better.
func tokens(sql string) []token {
	var out []token
	depth := 0
	for i := 0; i < len(sql); {
		start, c := i, sql[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			i++
			continue
		case strings.HasPrefix(sql[i:], "--") || strings.HasPrefix(sql[i:], "#!") || strings.HasPrefix(sql[i:], "# "):
			if n := strings.IndexByte(sql[i:], '\n'); n >= 0 {
				i += n + 1
			} else {
				i = len(sql)
			}
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			if n := strings.Index(sql[i+2:], "*/"); n >= 0 {
				i += n + 4
			} else {
				i = len(sql)
			}
			continue
		case c == '\'' || c == '"' || c == '`':
			i = endOfQuote(sql, i)
			out = append(out, token{sql[start:i], start, true, depth})
			continue
		case wordByte(c):
			for i < len(sql) && wordByte(sql[i]) {
				i++
			}
		default:
			i++
		}
		switch c {
		case ')', ']', '}':
			depth--
		}
		out = append(out, token{sql[start:i], start, false, depth})
		switch c {
		case '(', '[', '{':
			depth++
		}
	}
	return out
}

// endOfQuote returns the offset after the quoted thing that starts at i.
func endOfQuote(sql string, i int) int {
	mark := sql[i]
	for i++; i < len(sql); i++ {
		switch {
		case sql[i] == '\\':
			i++
		case sql[i] == mark && i+1 < len(sql) && sql[i+1] == mark:
			i++
		case sql[i] == mark:
			return i + 1
		}
	}
	return len(sql)
}

// settingOf reads the number that a CREATE's text gives to a table setting.
func settingOf(sql, name string) (uint64, bool) {
	all := tokens(sql)
	for i := 0; i+2 < len(all); i++ {
		if all[i].depth == 0 && all[i].is(name) && all[i+1].text == "=" {
			n, err := strconv.ParseUint(strings.Trim(all[i+2].text, "'"), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// hasWord reports whether a word stands in the text outside of brackets,
// quotes and comments.
func hasWord(sql, word string) bool {
	for _, t := range tokens(sql) {
		if t.depth == 0 && t.is(word) {
			return true
		}
	}
	return false
}

// expires reports whether a clause has a TTL that deletes rows or folds them
// together: any but those that only move or recompress.
func expires(clause string) bool {
	in, kept := false, true
	for _, t := range tokens(clause) {
		switch {
		case t.depth != 0 || t.quoted:
		case t.is("TTL"):
			in, kept = true, false
		case !in:
		case t.text == "," && !kept:
			return true
		case t.text == ",":
			kept = false
		case t.is("TO") || t.is("RECOMPRESS"):
			kept = true
		case t.is("SETTINGS") || t.is("COMMENT"):
			return !kept
		}
	}
	return !kept
}

// hasProjection reports whether the text of a CREATE TABLE, as the server
// writes it, declares a projection. Names of columns are quoted there.
func hasProjection(create string) bool {
	all := tokens(create)
	for i, t := range all {
		if i > 0 && t.depth == 1 && t.is("PROJECTION") && (all[i-1].text == "," || all[i-1].text == "(") {
			return true
		}
	}
	return false
}

// bodyOf returns the first thing in brackets, brackets included, or "".
func bodyOf(sql string) string {
	start := -1
	for _, t := range tokens(sql) {
		switch {
		case t.quoted || t.depth != 0:
		case t.text == "(" && start < 0:
			start = t.offset
		case t.text == ")" && start >= 0:
			return sql[start : t.offset+1]
		}
	}
	return ""
}

// engineOf returns the word after ENGINE [=], or "".
func engineOf(sql string) string {
	all := tokens(sql)
	for i, t := range all {
		if t.depth != 0 || !t.is("ENGINE") {
			continue
		}
		for _, next := range all[i+1:] {
			if next.text != "=" {
				return next.text
			}
		}
	}
	return ""
}

// splitFormat takes the FORMAT clause and semicolons off the end of a query,
// since the format travels beside it. A SETTINGS clause behind it stays, and
// stays at its place. The name is "" when there is none.
func splitFormat(sql string) (query, format string) {
	all := tokens(sql)
	end := len(all)
	for end > 0 && all[end-1].text == ";" && !all[end-1].quoted {
		end--
	}
	cut := len(sql)
	if end < len(all) {
		cut = all[end].offset
	}
	if formatAt(all, end) {
		return strings.TrimSpace(sql[:all[end-2].offset]), all[end-1].text
	}
	if i := settingsAt(all[:end]); i >= 0 && formatAt(all, i) {
		from, to := all[i-2].offset, all[i].offset
		return sql[:from] + strings.Repeat(" ", to-from) + sql[to:cut], all[i-1].text
	}
	return sql[:cut], ""
}

// formatAt reports whether a FORMAT clause ends before a token.
func formatAt(all []token, end int) bool {
	if end < 3 || !all[end-2].is("FORMAT") || all[end-2].depth != 0 || all[end-1].quoted || !wordByte(all[end-1].text[0]) {
		return false
	}
	word := strings.ToLower(all[end-1].text)
	return word != "asc" && word != "desc" // ORDER BY format DESC
}

// settingsAt finds the SETTINGS clause of a query, -1 when there is none.
func settingsAt(all []token) int {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].depth == 0 && all[i].is("SETTINGS") {
			return i
		}
	}
	return -1
}

// formatSettings are the settings of a query that say how its result is
// written.
func formatSettings(sql string) map[string]string {
	settings := map[string]string{}
	all := tokens(sql)
	at := settingsAt(all)
	if at < 0 {
		return settings
	}
	for i := at + 1; i+2 < len(all); i++ {
		name := all[i].text
		written := strings.HasPrefix(name, "output_format_") || strings.HasPrefix(name, "format_") || name == "date_time_output_format" || name == "session_timezone"
		if !written || all[i].quoted || all[i+1].text != "=" {
			continue
		}
		value := all[i+2].text
		if all[i+2].quoted {
			value = unquote(value)
		}
		settings[name] = value
	}
	return settings
}

// splitName reads a dotted name whose parts may be quoted.
func splitName(text string) ([]string, error) {
	var parts []string
	rest := strings.TrimSpace(text)
	for {
		var part string
		if rest != "" && (rest[0] == '`' || rest[0] == '"') {
			end := endOfQuote(rest, 0)
			if end < 2 || rest[end-1] != rest[0] {
				return nil, errors.New("a quote does not end")
			}
			part, rest = unquote(rest[:end]), rest[end:]
		} else {
			end := strings.IndexByte(rest, '.')
			if end < 0 {
				end = len(rest)
			}
			part, rest = rest[:end], rest[end:]
			if i := strings.IndexAny(part, "`\"'\\(){}[];,\n"); i >= 0 {
				return nil, fmt.Errorf("%q must be quoted", part[i:i+1])
			}
		}
		if part == "" {
			return nil, errors.New("a part of the name is empty")
		}
		parts = append(parts, part)
		if rest == "" {
			return parts, nil
		}
		if rest[0] != '.' {
			return nil, errors.New("a dot must follow the closing quote")
		}
		rest = rest[1:]
	}
}

// unquote undoes quote, and doubled marks.
func unquote(s string) string {
	mark, s := s[0], s[1:len(s)-1]
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			switch s[i] {
			case '0':
				b.WriteByte(0)
			case 'n':
				b.WriteByte('\n')
			default:
				b.WriteByte(s[i])
			}
		case s[i] == mark && i+1 < len(s) && s[i+1] == mark:
			i++
			b.WriteByte(mark)
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// bareType drops what changes how a type is stored but not what it holds.
func bareType(name string) string {
	for {
		switch {
		case strings.HasPrefix(name, "LowCardinality(") && strings.HasSuffix(name, ")"):
			name = name[len("LowCardinality(") : len(name)-1]
		case strings.HasPrefix(name, "SimpleAggregateFunction(") && strings.HasSuffix(name, ")"):
			_, inner, _ := strings.Cut(name[:len(name)-1], ", ")
			name = inner
		default:
			return name
		}
	}
}
