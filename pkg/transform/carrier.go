package transform

import (
	"fmt"
	"strings"
)

// carrier is how a column of a strict input is read and converted. The value,
// and every part of it, is an expression of the engine.
type carrier struct {
	typ   string // what the engine reads it as
	raw   string // the expression of what was read
	value string // of the declared type; it throws, or when judging is NULL, where the raw value has none
	ok    string // whether value is what raw says; empty: always, when there is a value
}

// writer writes carriers.
type writer struct {
	judging   bool // conversions give NULL in place of an error
	suspects  bool // values that are rare may be refused though they fit
	nestedCSV bool // arrays within CSV are CSV themselves
	logTimes  bool // a time may be written as in access logs
	depth     int  // of lambdas
}

// column is the carrier of the column e of the declared type.
func (w *writer) column(e, typ string, r reading) carrier {
	k := parseKind(typ)
	if c, ok := jsonNumber(e, k); ok && w.suspects && r == asJSON {
		return c
	}
	c, known := w.carry(e, k, r)
	if !known {
		return carrier{typ: typ, raw: e, value: e}
	}
	if nested[k.name] && c.value != e {
		c.value = cast(c.value, typ)
	}
	return c
}

// shortIntegers are those that a Float64 holds exactly.
var shortIntegers = map[string]bool{"Int8": true, "Int16": true, "Int32": true, "UInt8": true, "UInt16": true, "UInt32": true}

// jsonNumber is the carrier of a number that JSON is read as at less cost than
// as text. For a short integer it is a float: the engine's integers take ""
// for 0 in JSON and wrap, its floats do not. A float that is infinite is
// suspect. It reports whether there is such a carrier.
func jsonNumber(e string, k kind) (carrier, bool) {
	declared := k.text
	k, nullable := k.bare()
	c := carrier{raw: e}
	switch {
	case shortIntegers[k.name]:
		c.typ = "Nullable(Float64)"
		c.value = fmt.Sprintf("accurateCast(%s, %s)", e, Literal(k.text))
		if nullable {
			c.value = fmt.Sprintf("accurateCastOrNull(%s, %s)", e, Literal(k.text))
			c.ok = fmt.Sprintf("(isNull(%s) OR isNotNull(%s))", e, c.value)
		}
	case k.name == "Float64", k.name == "Float32":
		c.typ = "Nullable(" + k.name + ")"
		c.value = e
		c.ok = fmt.Sprintf("NOT isInfinite(assumeNotNull(%s))", e)
		if !nullable {
			c.value = cast(e, k.name)
		}
	default:
		return c, false
	}
	if strings.HasPrefix(declared, "LowCardinality(") {
		c.value = cast(c.value, declared)
	}
	return c, true
}

var nested = map[string]bool{"Array": true, "Tuple": true, "Map": true}

func cast(e, typ string) string { return fmt.Sprintf("CAST(%s, %s)", e, Literal(typ)) }

// carry is the carrier of e of the type k. It reports whether the type is one
// whose values can be checked.
func (w *writer) carry(e string, k kind, r reading) (carrier, bool) {
	if !nested[k.name] {
		return w.scalar(e, k, r)
	}
	switch {
	case r == asCSV && k.name == "Tuple", r == asJSON, r == asQuoted:
		return w.parts(e, k, r)
	case k.name == "Map", r == asCSV && w.nestedCSV:
		return w.parts(e, k, asQuoted) // the engine makes no Map of text
	}
	shape, known := w.parts("", k, asQuoted)
	if !known {
		return carrier{}, false
	}
	c, _ := w.parts(cast(e, shape.typ), k, asQuoted)
	c.typ, c.raw = "String", e
	if w.judging && c.ok == "" {
		c.ok = "NOT ignore(" + cast(e, shape.typ) + ")"
	}
	if strings.Contains(shape.typ, wideInteger) || strings.Contains(shape.typ, wideDecimal) {
		c.ok = both(c.ok, fmt.Sprintf("(NOT match(%[1]s, '[0-9]{39}') OR NOT match(replaceRegexpAll(%[1]s, %[2]s, ''), '[0-9]{39}'))", e, Literal(`'([^'\\]|\\.)*'`)))
	}
	return c, true
}

// parts is the carrier of a type that has others within.
func (w *writer) parts(e string, k kind, r reading) (carrier, bool) {
	switch k.name {
	case "Array":
		if len(k.args) != 1 {
			return carrier{}, false
		}
		x := w.lambda()
		in, known := w.carry(x, parseKind(k.args[0]), within(r))
		w.depth--
		c := carrier{typ: "Array(" + in.typ + ")", raw: e, value: e}
		if in.value != x {
			c.value = fmt.Sprintf("arrayMap(%s -> %s, %s)", x, in.value, e)
		}
		if in.ok != "" {
			c.ok = fmt.Sprintf("arrayAll(%s -> %s, %s)", x, in.ok, e)
		}
		return c, known
	case "Map":
		if len(k.args) != 2 {
			return carrier{}, false
		}
		keys, known1 := w.parts(fmt.Sprintf("mapKeys(%s)", e), kind{name: "Array", args: k.args[:1]}, r)
		values, known2 := w.parts(fmt.Sprintf("mapValues(%s)", e), kind{name: "Array", args: k.args[1:]}, r)
		c := carrier{raw: e, value: e, ok: both(keys.ok, values.ok)}
		key := strings.TrimSuffix(strings.TrimPrefix(keys.typ, "Array("), ")")
		key, _ = strings.CutPrefix(key, "Nullable(")
		if key != strings.TrimSuffix(strings.TrimPrefix(keys.typ, "Array("), ")") {
			key = strings.TrimSuffix(key, ")")
		}
		c.typ = "Map(" + key + ", " + strings.TrimPrefix(values.typ, "Array(")
		if keys.value != keys.raw || values.value != values.raw {
			c.value = fmt.Sprintf("mapFromArrays(%s, %s)", keys.value, values.value)
		}
		return c, known1 && known2
	}
	c := carrier{raw: e, value: e}
	var types, values []string
	known, changed := len(k.args) > 0, false
	for i, arg := range k.args {
		name, typ := element(arg)
		at := fmt.Sprintf("tupleElement(%s, %d)", e, i+1)
		in, ok := w.carry(at, parseKind(typ), r)
		known = known && ok
		changed = changed || in.value != at
		types = append(types, strings.TrimSpace(name+" "+in.typ))
		values = append(values, in.value)
		c.ok = both(c.ok, in.ok)
	}
	c.typ = "Tuple(" + strings.Join(types, ", ") + ")"
	if changed {
		c.value = "tuple(" + strings.Join(values, ", ") + ")"
	}
	return c, known
}

// within is how the elements of an Array are read.
func within(r reading) reading {
	if r == asCSV || r == asText {
		return asQuoted
	}
	return r
}

func (w *writer) lambda() string {
	w.depth++
	return fmt.Sprintf("_x%d", w.depth)
}

func both(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " AND " + b
}

// Types wide enough for what stands unquoted within text.
const (
	wideInteger = "Int256"
	wideDecimal = "Decimal(76, 38)"
)

// scalar is the carrier of a type without others within.
func (w *writer) scalar(e string, k kind, r reading) (carrier, bool) {
	declared := k.text
	k, nullable := k.bare()
	s, known := scalars[k.name]
	if k.name == "String" {
		c := carrier{typ: declared, raw: e, value: e}
		if r == asQuoted && !nullable && w.depth > 0 {
			// A NULL in an Array of String is no String.
			c.typ, c.value = "Nullable(String)", cast(e, "String")
			if w.judging {
				c.ok = fmt.Sprintf("isNotNull(%s)", e)
			}
		}
		return c, true
	}
	if !known {
		return carrier{}, false
	}
	c := carrier{typ: "String", raw: e}
	text := true
	if r == asQuoted && s.unquoted != "" {
		c.typ, text = s.unquoted, false
	}
	if nullable || r == asQuoted {
		c.typ = "Nullable(" + c.typ + ")"
	}
	t := e
	boolean := ""
	if r == asJSON && s.number {
		// true and false are numbers in JSON.
		boolean = fmt.Sprintf("transform(%[1]s, ['true', 'false'], ['1', '0'], %[1]s)", e)
	}
	// What else JSON may write for the number: 5.0 is 5, as the float that
	// carries short integers says.
	other := fmt.Sprintf("accurateCastOrNull(%s, %s)", boolean, Literal(k.text))
	if shortIntegers[k.name] {
		other = fmt.Sprintf("ifNull(%s, accurateCastOrNull(toFloat64OrNull(%s), %s))", other, e, Literal(k.text))
	}
	target := k.text
	if nullable {
		target = "Nullable(" + k.text + ")"
	}
	v := fmt.Sprintf("accurateCast(%s, %s)", t, Literal(target))
	switch {
	case w.judging, nullable && !s.texts:
		// A cast of text to a Nullable type is NULL, and no error, where the
		// text has no value.
		v = fmt.Sprintf("accurateCastOrNull(%s, %s)", t, Literal(k.text))
		if boolean != "" {
			v = fmt.Sprintf("if(isNotNull(%[1]s), %[1]s, %[2]s)", v, other)
		}
	case boolean != "":
		v = fmt.Sprintf("if(isNotNull(accurateCastOrNull(%[1]s, %[2]s)), assumeNotNull(accurateCastOrNull(%[1]s, %[2]s)), CAST(%[3]s, %[2]s))", t, Literal(k.text), other)
	case !s.accurate || !text && k.name == "Bool":
		v = cast(t, target)
	}
	logTimes := w.logTimes && (k.name == "DateTime" || k.name == "DateTime64")
	if logTimes {
		if w.judging || nullable {
			v = orLogTime(t, v, "Nullable("+k.text+")", true)
		} else {
			v = orLogTime(t, v, target, false)
		}
	}
	c.value = v
	// NULL is looked for first: the checks see what is not.
	maybe := strings.HasPrefix(c.typ, "Nullable(")
	sure, sureText := v, t
	if w.judging || nullable {
		sure = "assumeNotNull(" + v + ")"
	}
	if maybe {
		sureText = "assumeNotNull(" + t + ")"
	}
	switch {
	case w.judging && s.texts:
		c.ok = fmt.Sprintf("%s IN (%s)", sureText, strings.Join(k.enumTexts(), ", "))
	case text && s.ok != nil:
		c.ok = s.ok(sureText, sure, k)
		if logTimes {
			c.ok = logTimeOr(sureText, sure, c.ok)
		}
	case !text && s.okUnquoted != nil:
		c.ok = s.okUnquoted(sureText, sure)
	}
	if (w.judging || nullable) && !s.texts {
		c.ok = both("isNotNull("+v+")", c.ok)
	}
	switch {
	case c.ok == "":
	case nullable:
		c.ok = fmt.Sprintf("(isNull(%s) OR %s)", e, c.ok)
	case maybe && w.judging:
		c.ok = fmt.Sprintf("(isNotNull(%s) AND %s)", e, c.ok)
	default:
		c.ok = "(" + c.ok + ")"
	}
	if !w.judging && declared != target {
		c.value = cast(c.value, declared) // LowCardinality
	}
	return c, true
}
