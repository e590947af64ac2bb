package engine

import (
	"bytes"
	"strings"
)

// tokenKind is what a token of ClickHouse SQL is.
type tokenKind int

const (
	tokenEnd    tokenKind = iota // nothing follows
	tokenWord                    // a keyword, a bare identifier or a number
	tokenString                  // 'text' or a heredoc
	tokenQuoted                  // `name` or "name"
	tokenMark                    // one byte of punctuation
	tokenOpen                    // a string, name or comment that the text does not close
)

// token is a piece of a statement; text[start:end] is its source.
type token struct {
	kind       tokenKind
	start, end int
	word       string // of a word: in upper case; of a mark: itself
}

// lexer cuts SQL into tokens, skipping space and comments. It looks at no more
// than it is asked for, so data after a statement is never looked at.
type lexer struct {
	text []byte
	pos  int
}

func isSpace(b byte) bool {
	return b == ' ' || b == '\t' || b == '\n' || b == '\r' || b == '\f' || b == '\v'
}

func isWord(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// next returns the next token.
func (l *lexer) next() token {
	for l.pos < len(l.text) && isSpace(l.text[l.pos]) {
		l.pos++
	}
	rest := l.text[l.pos:]
	if len(rest) == 0 {
		return token{kind: tokenEnd, start: l.pos, end: l.pos}
	}
	switch {
	case bytes.HasPrefix(rest, []byte("--")), bytes.HasPrefix(rest, []byte("#!")), bytes.HasPrefix(rest, []byte("# ")):
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			l.pos += i + 1
		} else {
			l.pos = len(l.text)
		}
		return l.next()
	case bytes.HasPrefix(rest, []byte("/*")):
		i := bytes.Index(rest[2:], []byte("*/"))
		if i < 0 {
			return l.take(tokenOpen, len(rest))
		}
		l.pos += i + 4
		return l.next()
	case rest[0] == '\'':
		return l.quoted(tokenString, rest)
	case rest[0] == '`' || rest[0] == '"':
		return l.quoted(tokenQuoted, rest)
	case rest[0] == '$':
		if n := heredoc(rest); n > 0 {
			return l.take(tokenString, n)
		}
	case isWord(rest[0]):
		n := 1
		for n < len(rest) && (isWord(rest[n]) || rest[n] == '$') {
			n++
		}
		t := l.take(tokenWord, n)
		t.word = strings.ToUpper(string(rest[:n]))
		return t
	}
	t := l.take(tokenMark, 1)
	t.word = string(rest[:1])
	return t
}

// take consumes n bytes as a token.
func (l *lexer) take(kind tokenKind, n int) token {
	t := token{kind: kind, start: l.pos, end: l.pos + n}
	l.pos += n
	return t
}

// quoted consumes a string or name, where the quote is escaped by a backslash
// or by doubling.
func (l *lexer) quoted(kind tokenKind, rest []byte) token {
	quote := rest[0]
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case quote:
			if i+1 < len(rest) && rest[i+1] == quote {
				i++
				continue
			}
			return l.take(kind, i+1)
		}
	}
	return l.take(tokenOpen, len(rest))
}

// heredoc returns the length of $tag$…$tag$ at the start of text, 0 when there
// is none.
func heredoc(text []byte) int {
	i := 1
	for i < len(text) && isWord(text[i]) {
		i++
	}
	if i >= len(text) || text[i] != '$' {
		return 0
	}
	tag := text[:i+1]
	end := bytes.Index(text[i+1:], tag)
	if end < 0 {
		return 0
	}
	return i + 1 + end + len(tag)
}

// quote writes s as a string of SQL.
func quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('\'')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\'', '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case 0:
			b.WriteString(`\0`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// quoteName writes s as an identifier of SQL.
func quoteName(s string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(s) + "`"
}
