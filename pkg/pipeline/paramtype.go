package pipeline

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// paramType is a ClickHouse type that values of parameters may have: scalars
// whose texts are checked here as exactly as those of a source are by the engine,
// and Arrays of them.
type paramType struct {
	text  string // as written
	name  string // without arguments, Nullable and LowCardinality
	args  []string
	items *paramType // of an Array
}

var (
	typeShape  = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9]*)(?:\((.*)\))?$`)
	intShape   = regexp.MustCompile(`^(U?)Int(8|16|32|64|128|256)$`)
	enumName   = regexp.MustCompile(`'((?:[^'\\]|\\.)*)'`)
	wholeText  = regexp.MustCompile(`^[+-]?[0-9]+$`)
	numberText = regexp.MustCompile(`^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$`)
	decimal    = regexp.MustCompile(`^([+-]?)0*([0-9]*)(?:\.([0-9]*?)0*)?$`)
	uuidText   = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

// scalarTypes are those without arguments.
var scalarTypes = []string{"String", "Bool", "Float32", "Float64", "Date", "Date32", "DateTime", "DateTime64", "UUID", "IPv4", "IPv6"}

// paramTypeOf takes a type apart.
func paramTypeOf(text string) (paramType, error) {
	t := paramType{text: text}
	bad := func() (paramType, error) {
		hint := ""
		if near := nearest(text, append([]string{"Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"}, scalarTypes...)); near != "" {
			hint = "; did you mean " + near + "?"
		}
		return t, fmt.Errorf("%q is no type that a parameter can have%s", text, hint)
	}
	m := typeShape.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return bad()
	}
	t.name = m[1]
	switch t.name {
	case "Nullable", "LowCardinality":
		inner, err := paramTypeOf(m[2])
		if err != nil || inner.items != nil {
			return bad()
		}
		inner.text = text
		return inner, nil
	case "Array":
		inner, err := paramTypeOf(m[2])
		if err != nil || inner.items != nil {
			return bad()
		}
		t.items = &inner
		return t, nil
	case "Enum8", "Enum16":
		for _, n := range enumName.FindAllStringSubmatch(m[2], -1) {
			t.args = append(t.args, strings.NewReplacer(`\\`, `\`, `\'`, `'`).Replace(n[1]))
		}
		if len(t.args) == 0 {
			return bad()
		}
		return t, nil
	}
	for arg := range strings.SplitSeq(m[2], ",") {
		if arg = strings.TrimSpace(arg); arg != "" {
			t.args = append(t.args, arg)
		}
	}
	if !t.known() {
		return bad()
	}
	return t, nil
}

// same reports whether the types have the same values, NULL aside.
func (t paramType) same(other paramType) bool {
	if t.items != nil && other.items != nil {
		return t.items.same(*other.items)
	}
	return t.items == nil && other.items == nil && t.name == other.name && slices.Equal(t.args, other.args)
}

// jobTime reports whether what ${job_time} stands for, a time of UTC, is a value.
func (t paramType) jobTime() bool {
	return t.name == "String" || t.name == "DateTime" && (len(t.args) == 0 || t.args[0] == "'UTC'")
}

// known reports whether the type, which is none with others within, is one that
// values can be checked for, with the arguments that it needs.
func (t paramType) known() bool {
	number := func(i, most int) bool {
		n, err := strconv.Atoi(t.args[i])
		return err == nil && n >= 0 && n <= most
	}
	zone := func(i int) bool {
		_, err := time.LoadLocation(strings.Trim(t.args[i], "'"))
		return err == nil && strings.HasPrefix(t.args[i], "'")
	}
	switch {
	case t.name == "FixedString":
		return len(t.args) == 1 && number(0, 1<<20)
	case t.name == "Decimal":
		return len(t.args) == 2 && number(0, 76) && number(1, t.int(0))
	case t.name == "DateTime":
		return len(t.args) == 0 || len(t.args) == 1 && zone(0)
	case t.name == "DateTime64":
		return len(t.args) > 0 && len(t.args) < 3 && number(0, 9) && (len(t.args) == 1 || zone(1))
	}
	return len(t.args) == 0 && (intShape.MatchString(t.name) || slices.Contains(scalarTypes, t.name))
}

func (t paramType) int(arg int) int {
	n, _ := strconv.Atoi(t.args[arg]) // known has seen to it
	return n
}

// bare reports whether a value may stand in SQL without quotes.
func (t paramType) bare() bool {
	return t.items != nil || t.name == "Bool" || t.name == "Decimal" || strings.HasPrefix(t.name, "Float") || intShape.MatchString(t.name)
}

// check returns the text of a value in the one way in which ClickHouse writes it,
// or why it is no value of the type. Nothing is wrapped, cut or rounded but
// floats, which are what they are.
func (t paramType) check(value string) (string, error) {
	text, ok := t.canonical(value)
	if !ok {
		return "", fmt.Errorf("%q is no %s", value, t.text)
	}
	return text, nil
}

func (t paramType) canonical(v string) (string, bool) {
	switch t.name {
	case "Array":
		items, err := t.list(v)
		if err != nil {
			return "", false
		}
		for i, item := range items {
			if !t.items.bare() {
				items[i] = sqlText(item)
			}
		}
		return "[" + strings.Join(items, ", ") + "]", true
	case "String":
		return v, true
	case "FixedString":
		return v, len(v) <= t.int(0)
	case "Enum8", "Enum16":
		return v, slices.Contains(t.args, v)
	case "Bool":
		switch strings.ToLower(v) {
		case "true", "1":
			return "true", true
		case "false", "0":
			return "false", true
		}
		return "", false
	case "Float32", "Float64":
		bits := 64
		if t.name == "Float32" {
			bits = 32
		}
		_, err := strconv.ParseFloat(v, bits)
		return v, err == nil && numberText.MatchString(v)
	case "Decimal":
		m := decimal.FindStringSubmatch(v)
		return v, m != nil && strings.ContainsAny(v, "0123456789") && len(m[2]) <= t.int(0)-t.int(1) && len(m[3]) <= t.int(1)
	case "UUID":
		return strings.ToLower(v), uuidText.MatchString(v)
	case "IPv4", "IPv6":
		ip, err := netip.ParseAddr(v)
		return ip.String(), err == nil && ip.Zone() == "" && ip.Is4() == (t.name == "IPv4")
	case "Date", "Date32", "DateTime", "DateTime64":
		return t.time(v)
	}
	return t.integer(v)
}

func (t paramType) integer(v string) (string, bool) {
	n, ok := new(big.Int).SetString(v, 10)
	if !ok || !wholeText.MatchString(v) {
		return "", false
	}
	m := intShape.FindStringSubmatch(t.name)
	bits, _ := strconv.Atoi(m[2])
	if m[1] == "" {
		bits--
	}
	limit := new(big.Int).Lsh(big.NewInt(1), uint(bits))
	low := new(big.Int)
	if m[1] == "" {
		low.Neg(limit)
	}
	return n.String(), n.Cmp(low) >= 0 && n.Cmp(limit) < 0
}

// time reads a day or a time: 2026-01-02, 2026-01-02 03:04:05, also with a T, a
// fraction, Z or an offset. Without one it is in the type's zone, or UTC.
func (t paramType) time(v string) (string, bool) {
	day := strings.HasPrefix(t.name, "Date") && !strings.HasPrefix(t.name, "DateTime")
	zone, scale := time.UTC, 0
	switch {
	case t.name == "DateTime" && len(t.args) == 1:
		zone, _ = time.LoadLocation(strings.Trim(t.args[0], "'"))
	case t.name == "DateTime64":
		scale = t.int(0)
		if len(t.args) == 2 {
			zone, _ = time.LoadLocation(strings.Trim(t.args[1], "'"))
		}
	}
	layouts := []string{time.DateOnly}
	if !day {
		layouts = append(layouts, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z07:00")
	}
	for _, layout := range layouts {
		at, err := time.ParseInLocation(layout, v, zone)
		if err != nil {
			continue
		}
		if !strings.HasSuffix(layout, "Z07:00") && !strings.HasPrefix(strings.Replace(v, "T", " ", 1), at.Format(time.DateTime)[:len(layout)]) {
			return "", false // a time that a change of clocks leaves out
		}
		at = at.In(zone)
		out := time.DateTime
		if day {
			out = time.DateOnly
		}
		if scale > 0 {
			out += "." + strings.Repeat("0", scale)
		}
		unit := time.Duration(math.Pow10(9 - scale))
		if day {
			unit = 1
		}
		first, last := timeRange(t.name)
		return at.Format(out), at.Truncate(unit).Equal(at) && !at.Before(first) && at.Before(last)
	}
	return "", false
}

// timeRange is what a type of times holds: from the first on, before the last.
func timeRange(name string) (first, last time.Time) {
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }
	switch name {
	case "Date":
		return day(1970, 1, 1), day(2149, 6, 7)
	case "DateTime":
		return day(1970, 1, 1), time.Unix(1<<32, 0)
	}
	return day(1900, 1, 1), day(2300, 1, 1)
}

// list are the elements of an Array, checked. It is written in JSON.
func (t paramType) list(v string) ([]string, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte(v), &raw); err != nil {
		return nil, fmt.Errorf("%q is no list in JSON", v)
	}
	items := make([]string, len(raw))
	for i, r := range raw {
		text := string(r)
		if strings.HasPrefix(text, `"`) {
			if err := json.Unmarshal(r, &text); err != nil {
				return nil, fmt.Errorf("reading an element: %w", err)
			}
		}
		var err error
		if items[i], err = t.items.check(text); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// literal writes a value that check accepts in SQL.
func (t paramType) literal(value string) string {
	switch {
	case t.items != nil:
		items, _ := t.list(value) // it was checked
		for i, item := range items {
			items[i] = t.items.literal(item)
		}
		return fmt.Sprintf("CAST([%s], %s)", strings.Join(items, ", "), sqlText(t.text))
	case t.text == "String":
		return sqlText(value)
	}
	value, _ = t.canonical(value)
	return fmt.Sprintf("CAST(%s, %s)", sqlText(value), sqlText(t.text))
}

// sqlText quotes a text for ClickHouse.
func sqlText(s string) string { return "'" + sqlEscape(s, '\'') + "'" }

// sqlEscape writes s for within such quotes.
func sqlEscape(s string, quote byte) string {
	return strings.NewReplacer(`\`, `\\`, string(quote), `\`+string(quote)).Replace(s)
}
