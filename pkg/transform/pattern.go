package transform

import (
	"fmt"
	"strings"

	"drayage/pkg/job"
)

// record is the column of a whole record that a pattern takes apart.
const record = "_record"

// MatchPattern is the regular expression by which a record as a whole is
// matched by pattern: in it a dot is no newline, unless pattern says so, as in
// the engine's own format Regexp.
func MatchPattern(pattern string) string { return "^(?-s:" + pattern + ")$" }

// relation is what the engine reads the bytes as, with columns of these types
// for those of b.Structure.
func (b Bytes) relation(types []job.Column) string {
	switch {
	case b.Pattern != "":
		exprs := make([]string, len(types))
		for i, c := range types {
			exprs[i] = group(i+1, b.Structure[i].Type, c.Type) + " AS " + Identifier(c.Name)
		}
		return fmt.Sprintf("(SELECT %s FROM (SELECT extractGroups(%s, %s) AS _groups FROM %s) WHERE NOT throwIf(empty(_groups), %s))",
			strings.Join(exprs, ", "), b.text(), Literal(MatchPattern(b.Pattern)), b.whole(), Literal(noMatch))
	case b.Framed:
		return fmt.Sprintf("(SELECT %s AS %s FROM %s)", b.text(), Identifier(types[0].Name), b.whole())
	}
	return File(b.Path, b.Format, b.Compression, types, b.Columns).Relation
}

// whole is the relation of whole records, each one text.
func (b Bytes) whole() string {
	format := b.Format
	if b.Framed {
		format = "RowBinary"
	}
	one := []job.Column{{Name: record, Type: "String"}}
	return File(b.Path, format, b.Compression, one, nil).Relation
}

// text is a whole record without the end of its last line.
func (b Bytes) text() string {
	end := `endsWith($r, '\r')`
	if b.Framed {
		end = `multiIf(endsWith($r, '\r\n'), 2, endsWith($r, '\n') OR endsWith($r, '\r'), 1, 0)`
	}
	return strings.ReplaceAll("substring($r, 1, length($r) - "+end+")", "$r", record)
}

const noMatch = "the record does not match the regular expression"

// group is the expression of a group of the pattern, from 1, for a column that
// was declared as one type and is read as another. An empty group is NULL where
// the type has that and has no empty text; \N is it where the type has it.
func group(number int, declared, as string) string {
	e := fmt.Sprintf("_groups[%d]", number)
	if k, null := parseKind(declared).bare(); null && k.name == "String" {
		e = fmt.Sprintf(`nullIf(%s, '\\N')`, e)
	} else if null {
		e = fmt.Sprintf(`if(%[1]s IN ('', '\\N'), NULL, %[1]s)`, e)
	}
	switch k, null := parseKind(as).bare(); {
	case as == "String", as == "Nullable(String)":
		return e
	case k.name == "DateTime", k.name == "DateTime64":
		return orLogTime(e, cast(e, as), as, null)
	}
	return cast(e, as)
}

// Unchecked is the input that File is, of any bytes: the values are the engine's
// own conversions.
func Unchecked(b Bytes) Input {
	return Input{Relation: b.relation(b.Structure), Columns: b.Columns}
}

// Counted is the relation whose rows are the records of b, for a count of them:
// nothing of a value is looked at.
func Counted(b Bytes) string {
	if b.Pattern != "" || b.Framed {
		return b.whole()
	}
	return File(b.Path, b.Format, b.Compression, b.Structure, nil).Relation
}

// Times of access logs, such as 10/Oct/2000:13:55:36 -0700, which ClickHouse
// reads in no column by itself. Its function for them wraps years that the type
// does not have.
const (
	logTime       = "(length($t) = 26 AND substring($t, 3, 1) = '/' AND substring($t, 12, 1) = ':' AND substring($t, 25, 1) < '6')"
	logTimeFormat = "%d/%b/%Y:%H:%i:%S %z"
	logTimeOK     = "abs(toInt32OrZero(substring($t, 8, 4)) - toYear($v)) <= 1"
)

// orLogTime is the value v of the text t, or that of the log's time that t is.
func orLogTime(t, v, target string, orNull bool) string {
	parse := "parseDateTime"
	if orNull {
		parse += "OrNull"
	}
	return fmt.Sprintf("if(%s, %s, %s)", strings.ReplaceAll(logTime, "$t", t),
		cast(fmt.Sprintf("%s(%s, %s, 'UTC')", parse, t, Literal(logTimeFormat)), target), v)
}

// logTimeOr writes the check ok, or that of the log's time that t is.
func logTimeOr(t, v, ok string) string {
	return strings.NewReplacer("$t", t, "$v", v).Replace("if(" + logTime + ", " + logTimeOK + ", " + ok + ")")
}
