package transform

import (
	"fmt"
	"strconv"
	"strings"
)

// scalar is how values of a type are made of text.
type scalar struct {
	accurate bool // accurateCast of text refuses all that does not fit
	number   bool // an integer
	texts    bool // only certain texts have a value
	// ok writes whether the value v is what the text t says; nil: always,
	// when there is a value.
	ok func(t, v string, k kind) string
	// unquoted is the type that carries it where it stands without quotes,
	// and okUnquoted its check.
	unquoted   string
	okUnquoted func(t, v string) string
}

// scalars are the types whose values are checked. The rest is read as the
// engine reads it.
var scalars = map[string]scalar{
	"Int8": integer(0), "Int16": integer(0), "Int32": integer(0), "Int64": integer(0),
	"UInt8": integer(0), "UInt16": integer(0), "UInt32": integer(0), "UInt64": integer(0),
	"Int128": integer(38), "UInt128": integer(38), "Int256": integer(76), "UInt256": integer(76),
	"Float32": float, "Float64": float, "BFloat16": float,
	"Decimal":     {ok: decimalOK, unquoted: wideDecimal, okUnquoted: equalOK},
	"Date":        {ok: dateOK},
	"Date32":      {ok: dateOK},
	"DateTime":    {ok: dateTimeOK},
	"DateTime64":  {ok: dateTimeOK},
	"Time":        {ok: timeOK},
	"Time64":      {ok: timeOK},
	"Bool":        {unquoted: "Bool"},
	"UUID":        {},
	"IPv4":        {},
	"IPv6":        {},
	"FixedString": {},
	"Enum8":       {texts: true},
	"Enum16":      {texts: true},
}

// integer is an integer type. Those of up to 64 bits are converted exactly;
// wider ones wrap from some number of digits on.
func integer(digits int) scalar {
	s := scalar{accurate: true, number: true, unquoted: wideInteger}
	if digits > 0 {
		s.ok = func(t, v string, _ kind) string {
			plain := fmt.Sprintf(`replaceRegexpOne(replaceRegexpOne(%s, '^\\+', ''), '^(-?)0+([0-9])', '\\1\\2')`, t)
			return fmt.Sprintf("if(length(%s) <= %d, 1, toString(%s) = %s)", t, digits, v, plain)
		}
	}
	return s
}

// float is a floating point type: a number too large becomes infinite.
// Rounding is what such a type is for.
var float = scalar{
	ok: func(t, v string, _ kind) string {
		return fmt.Sprintf("if(isInfinite(%s), match(%s, '(?i)inf'), 1)", v, t)
	},
	unquoted:   "Float64",
	okUnquoted: func(t, v string) string { return fmt.Sprintf("(NOT isInfinite(%s) OR isInfinite(%s))", v, t) },
}

func equalOK(t, v string) string { return fmt.Sprintf("%s = %s", v, t) }

// decimalOK: digits are cut in silence, and the precision is not looked at.
func decimalOK(t, v string, k kind) string {
	p, s := 76, 0
	if len(k.args) == 2 {
		p, _ = strconv.Atoi(k.args[0])
		s, _ = strconv.Atoi(k.args[1])
	}
	whole := p - s
	r := strings.NewReplacer("$t", t, "$v", v, "$w", strconv.Itoa(whole), "$s", strconv.Itoa(s))
	below := "1"
	if whole == 0 {
		below = r.Replace("abs($v) < 1")
	}
	plain := `match($t, '^[+-]?0*[0-9]{0,$w}(\\.[0-9]{0,$s}0*)?$')`
	return r.Replace("if($v != 0 AND "+plain+", 1, ("+plain+" AND match($t, '[0-9]'))"+
		` OR (match($t, '^[+-]?[0-9]{1,19}(\\.[0-9]{0,18})?[eE][+-]?[01]?[0-9]$') AND ifNull(toDecimal256OrNull($t, 38) = $v, 0) AND length(toString(truncate(abs($v)))) <= greatest($w, 1) AND `) + below + "))"
}

// dateOK: days that are none become others, years outside of the range the
// nearest within.
func dateOK(t, v string, _ kind) string {
	return strings.NewReplacer("$t", t, "$v", v).Replace(`if(toString($v) = $t, 1, formatDateTime($v, '%Y%m%d') = $t` +
		` OR concat(toString(toYear($v)), '-', toString(toMonth($v)), '-', toString(toDayOfMonth($v))) = replaceRegexpAll($t, '[-/.]0?', '-'))`)
}

// dateTimeOK: the fields of a time run over into each other, what a text
// leaves out is taken from today, and fractions are cut. So the value must be
// the text when it is written again, in one of the ways it can be written; and
// where an offset or a name of a month makes that impossible, the text must be
// a full date with fields in their ranges.
func dateTimeOK(t, v string, k kind) string {
	scale, unix := 0, fmt.Sprintf("toDecimal128(toUnixTimestamp(%s), 9)", v)
	length, zulu := len("2026-01-01T00:00:00Z"), "formatDateTime($v, '%Y-%m-%dT%H:%i:%SZ', 'UTC')"
	last := fmt.Sprintf("%s < toDateTime('2106-02-07 00:00:00', 'UTC')", v)
	if k.name == "DateTime64" {
		scale, unix, last = 3, fmt.Sprintf("toDecimal128(%s, 9)", v), "1"
		if len(k.args) > 0 {
			scale, _ = strconv.Atoi(k.args[0])
		}
		length, zulu = length+1+scale, "concat(replaceOne(toString($v, 'UTC'), ' ', 'T'), 'Z')"
	}
	fields := "[toUInt32(toYear($v)), toMonth($v), toDayOfMonth($v), toHour($v), toMinute($v), toSecond($v)]"
	said := "arrayMap(_d -> toUInt32OrZero(_d), extractAll($t, '[0-9]+'))"
	short := `replaceRegexpOne(replaceRegexpOne(replaceOne(replaceRegexpAll($t, '[/]', '-'), 'T', ' '), '(\\.[0-9]*[1-9])0+$', '\\1'), '\\.0*$', '')`
	written := []string{
		"(startsWith(toString($v), " + short + ") AND length(" + short + ") >= 10 AND NOT match(substring(toString($v), length(" + short + ") + 1), '[1-9]'))",
		`(match($t, '^[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}([T ]+[0-9]{1,2}(:[0-9]{1,2}){0,2})?$') AND ` + said + " = arraySlice(" + fields + ", 1, length(" + said + ")) AND NOT match(substring(toString($v), 20), '[1-9]') AND arraySum(arraySlice(" + fields + ", length(" + said + ") + 1)) = 0)",
		"(match($t, '^([0-9]{8}|[0-9]{14})$') AND formatDateTime($v, '%Y%m%d%H%i%S') = rightPad($t, 14, '0') AND NOT match(substring(toString($v), 20), '[1-9]'))",
		`(match($t, '^-?[0-9]{1,10}(\\.[0-9]{1,9})?$') AND ifNull(toDecimal128OrNull($t, 9) = $unix, 0))`,
		"(match($t, '^[0-9]{11,19}$') AND ifNull(toDecimal128OrNull(concat(substring($t, 1, 10), '.', substring($t, 11)), 9) = $unix, 0))",
		`(match($t, '[A-SU-Za-z]|[+-][0-9]{2}:?[0-9]{2}$|^[0-9]{1,2}[-/.]')` +
			` AND match($t, '[0-9]{4}[-/. ]([0-9]{1,2}|[A-Za-z]{3,9})[-/. ][0-9]{1,2}|[0-9]{1,2}[-/. ]([0-9]{1,2}|[A-Za-z]{3,9})[-/., ]+[0-9]{4}|[A-Za-z]{3,9} [0-9]{1,2},? [0-9]{4}|^[0-9]{8}T')` +
			` AND NOT match($t, '(^|[^0-9:])(2[4-9]|[3-9][0-9]):') AND NOT match($t, '[0-9]:?[0-9]*:[6-9][0-9]')` +
			` AND NOT match($t, '[.,][0-9]{$scale}0*[1-9]')` +
			` AND (position($t, toString(toYear($v - INTERVAL 1 DAY))) > 0 OR position($t, toString(toYear($v + INTERVAL 1 DAY))) > 0) AND $last)`,
	}
	return strings.NewReplacer("$t", t, "$v", v, "$unix", unix, "$last", last, "$scale", strconv.Itoa(scale)).
		Replace("multiIf(length($t) = " + strconv.Itoa(length) + " AND " + zulu + " = $t, 1, toString($v) = $t, 1, replaceOne(toString($v), ' ', 'T') = $t, 1, " +
			strings.Join(written, " OR ") + ")")
}

// timeOK: minutes and seconds run over, fractions are cut.
func timeOK(t, v string, _ kind) string {
	return strings.NewReplacer("$t", t, "$v", v).Replace(
		`if(toString($v) = $t, 1, (length($t) >= 7 AND startsWith(toString($v), $t) AND NOT match(substring(toString($v), length($t) + 1), '[1-9]')))`)
}
