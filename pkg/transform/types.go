package transform

import "strings"

// kind is a ClickHouse type, taken apart.
type kind struct {
	text string // as written
	name string // without arguments: Array
	args []string
}

// parseKind takes a canonical type apart, as DESCRIBE writes types. What it
// does not understand is a kind without arguments, which nothing matches.
func parseKind(text string) kind {
	text = strings.TrimSpace(text)
	open := strings.IndexByte(text, '(')
	if open < 0 || !strings.HasSuffix(text, ")") {
		return kind{text: text, name: text}
	}
	return kind{text: text, name: text[:open], args: splitArguments(text[open+1 : len(text)-1])}
}

// splitArguments splits at the commas outside of parentheses and quotes.
func splitArguments(s string) []string {
	var parts []string
	depth, start := 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '(':
			depth++
		case ')':
			depth--
		case '\'', '`', '"':
			i = closingQuote(s, i)
		case ',':
			if depth == 0 {
				parts = append(parts, strings.TrimSpace(s[start:i]))
				start = i + 1
			}
		}
	}
	return append(parts, strings.TrimSpace(s[start:]))
}

// closingQuote is the index of the quote that closes the one at s[i], or that
// of the last byte.
func closingQuote(s string, i int) int {
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case s[i]:
			return j
		}
	}
	return len(s) - 1
}

// element splits an element of a Tuple into its name, which may be empty, and
// its type.
func element(arg string) (name, typ string) {
	if arg != "" && arg[0] == '`' {
		end := closingQuote(arg, 0)
		return arg[:end+1], strings.TrimSpace(arg[end+1:])
	}
	space, open := strings.IndexByte(arg, ' '), strings.IndexByte(arg, '(')
	if space < 0 || open >= 0 && open < space {
		return "", arg
	}
	return arg[:space], strings.TrimSpace(arg[space:])
}

// bare is the type without LowCardinality and Nullable.
func (k kind) bare() (inner kind, nullable bool) {
	for len(k.args) == 1 && (k.name == "LowCardinality" || k.name == "Nullable") {
		nullable = nullable || k.name == "Nullable"
		k = parseKind(k.args[0])
	}
	return k, nullable
}

// enumTexts are the literals that an Enum is written with: its names, and its
// numbers as text.
func (k kind) enumTexts() []string {
	var texts []string
	for _, arg := range k.args {
		if arg == "" || arg[0] != '\'' {
			return nil
		}
		end := closingQuote(arg, 0)
		number := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(arg[end+1:]), "="))
		texts = append(texts, arg[:end+1], Literal(number))
	}
	return texts
}
