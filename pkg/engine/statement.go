package engine

import (
	"strconv"
	"strings"
)

// kind is how a statement is run.
type kind int

const (
	kindOther  kind = iota // run as it is, small output
	kindSelect             // output of any size: streamed
	kindInsert             // followed by data
	kindInput              // INSERT … SELECT … FROM input(…), followed by data
)

// statement is what one request asks for.
type statement struct {
	kind kind
	sql  string // the statement without its data; of a SELECT and an INSERT with data, what is before FORMAT
	full string // of others: all of it
	verb string // its first keyword

	format string // given by FORMAT, "" when not given
	tail   string // of a SELECT: what follows FORMAT x, a SETTINGS clause

	// Of an INSERT with data: where FROM INFILE belongs in sql, and where
	// its data begin in the text that was parsed.
	infile int
	data   int
	// Of an INSERT from input(): the place of the call in sql, and its
	// argument, as it was written.
	inputStart, inputEnd int
	inputStructure       string
	// target is the table of the INSERT as it was written.
	target string
}

// parse splits text into a statement and the data after it. It returns
// more=true when the text ends before that can be told and complete is false.
func parse(text []byte, complete bool) (st statement, more bool, err error) {
	lex := &lexer{text: text}
	t := lex.next()
	for t.kind == tokenMark && t.word == "(" {
		t = lex.next()
	}
	switch {
	case t.kind == tokenEnd && complete:
		return st, false, &Exception{62, "SYNTAX_ERROR", "Empty query"}
	case t.kind == tokenOpen && complete:
		return st, false, &Exception{62, "SYNTAX_ERROR", "Syntax error: something is not closed at the start of the query"}
	}
	st.verb = t.word
	if st.verb == "INSERT" && t.end < len(text) {
		return st.parseInsert(lex, complete)
	}
	if !complete {
		return st, true, nil
	}
	return st.parseWhole(lex, t)
}

// parseWhole reads a statement that has no data after it.
func (st statement) parseWhole(lex *lexer, first token) (statement, bool, error) {
	st.kind = kindOther
	switch st.verb {
	case "SELECT", "WITH", "FROM":
		st.kind = kindSelect
	}
	var (
		depth          int
		end            = len(lex.text)
		last, previous = first, first
		formatAt       = -1
		nameEnd        int
	)
	for t := lex.next(); ; t = lex.next() {
		if t.kind == tokenEnd {
			end = last.end
			break
		}
		if t.kind == tokenMark {
			switch t.word {
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				depth--
			case ";":
				end = last.end
				for t.kind == tokenMark && t.word == ";" {
					t = lex.next()
				}
				if t.kind != tokenEnd {
					return st, false, &Exception{62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed): failed at position " + strconv.Itoa(t.start+1)}
				}
			}
			if t.kind == tokenEnd {
				break
			}
		}
		if depth <= 0 && t.kind == tokenWord && (previous.kind != tokenMark || previous.word == ")" || previous.word == "]" || previous.word == "}" || previous.word == "*") {
			switch {
			case t.word == "INSERT" && st.kind == kindSelect:
				st.kind = kindOther // WITH … INSERT INTO … SELECT
			case t.word == "OUTFILE" && previous.word == "INTO" && st.kind == kindSelect:
				return st, false, &Exception{48, "NOT_IMPLEMENTED", "INTO OUTFILE is not allowed over HTTP"}
			case previous.word == "FORMAT" && previous.kind == tokenWord && formatAt < 0:
				// FORMAT x counts when it is all that follows, SETTINGS aside.
				after := *lex
				if n := after.next(); n.kind == tokenEnd || n.kind == tokenMark && n.word == ";" || n.kind == tokenWord && n.word == "SETTINGS" {
					formatAt, nameEnd = previous.start, t.end
					st.format = string(lex.text[t.start:t.end])
				}
			}
		}
		previous, last = t, t
	}
	st.full = string(lex.text[:end])
	if st.kind == kindSelect && formatAt >= 0 {
		st.sql = string(lex.text[:formatAt])
		st.tail = string(lex.text[nameEnd:end])
		return st, false, nil
	}
	if st.verb == "KILL" {
		st.full = killStatement(st.full)
	}
	st.sql = st.full
	return st, false, nil
}

// parseInsert reads an INSERT up to where its data begin.
func (st statement) parseInsert(lex *lexer, complete bool) (statement, bool, error) {
	var (
		t        = lex.next()
		depth    int
		previous token
		selected bool
	)
	if t.kind == tokenWord && t.word == "INTO" {
		t = lex.next()
	}
	if t.kind == tokenWord && t.word == "TABLE" {
		t = lex.next()
	}
	if t.kind == tokenWord && t.word == "FUNCTION" {
		t = lex.next()
	}
	// The name comes first, so that a table called format or values is none
	// of these.
	targetStart := t.start
	for look := *lex; ; {
		if dot := look.next(); dot.kind != tokenMark || dot.word != "." {
			break
		}
		t = look.next()
		*lex = look
	}
	st.target = string(lex.text[targetStart:t.end])
	previous = t
	for t = lex.next(); ; previous, t = t, lex.next() {
		switch {
		case t.kind == tokenEnd || t.kind == tokenOpen:
			if !complete {
				return st, true, nil
			}
			st.kind = kindOther
			if st.inputEnd > 0 {
				return st, false, &Exception{62, "SYNTAX_ERROR", "INSERT with input() needs FORMAT and data"}
			}
			st.full = strings.TrimRight(string(lex.text), "; \t\r\n")
			return st, false, nil
		case t.kind == tokenMark && (t.word == "(" || t.word == "[" || t.word == "{"):
			depth++
		case t.kind == tokenMark && (t.word == ")" || t.word == "]" || t.word == "}"):
			depth--
		case t.kind != tokenWord || previous.kind == tokenMark && previous.word == ".":
		case selected && t.word == "INPUT" && st.inputEnd == 0:
			st.findInput(lex, t)
		case t.word == "SELECT" && depth <= 1:
			selected = true // also INSERT INTO t (SELECT …)
		case depth == 0:
			switch t.word {
			case "WITH":
				selected = true
			case "SETTINGS":
				if st.infile == 0 && !selected {
					st.infile = t.start
				}
			case "FROM":
				if !selected {
					return st, false, &Exception{48, "NOT_IMPLEMENTED", "INSERT FROM INFILE is not allowed over HTTP"}
				}
			case "VALUES":
				if selected {
					break
				}
				return st.withData(lex.text, t.start, "Values", t.end, complete)
			case "FORMAT":
				if selected && st.inputEnd == 0 {
					break
				}
				name := lex.next()
				if name.kind != tokenWord || name.end == len(lex.text) && !complete {
					if !complete {
						return st, true, nil
					}
					break
				}
				return st.withData(lex.text, t.start, string(lex.text[name.start:name.end]), name.end, complete)
			}
		}
	}
}

// withData ends an INSERT whose data begin after position end.
func (st statement) withData(text []byte, cut int, format string, end int, complete bool) (statement, bool, error) {
	st.kind = kindInsert
	if st.inputEnd > 0 {
		st.kind = kindInput
	}
	if st.infile == 0 {
		st.infile = cut
	}
	st.sql = string(text[:cut])
	st.format = format
	st.data = end
	for st.data < len(text) && (text[st.data] == ' ' || text[st.data] == '\t' || text[st.data] == '\f') {
		st.data++
	}
	if st.data == len(text) && !complete {
		return st, true, nil
	}
	if st.data < len(text) && text[st.data] == '\r' {
		st.data++
		if st.data == len(text) && !complete {
			return st, true, nil
		}
	}
	if st.data < len(text) && text[st.data] == '\n' {
		st.data++
	}
	return st, false, nil
}

// findInput notes the call input('structure') that begins at the word t.
func (st *statement) findInput(lex *lexer, t token) {
	look := *lex
	if open := look.next(); open.kind != tokenMark || open.word != "(" {
		return
	}
	argument := look.next()
	closing := argument
	if argument.kind == tokenString {
		closing = look.next()
		st.inputStructure = string(lex.text[argument.start:argument.end])
	}
	if closing.kind != tokenMark || closing.word != ")" {
		st.inputStructure = ""
		return
	}
	st.inputStart, st.inputEnd = t.start, closing.end
	*lex = look
}
