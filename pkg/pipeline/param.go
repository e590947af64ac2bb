package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// parameter is a parameter with its value.
type parameter struct {
	name  string
	typ   *paramType // as declared; nil: any text
	text  string     // checked, and as ClickHouse writes it when it has a type
	given string     // as it was given
	wrong bool       // it has no value, which was said
}

// params reads the declarations, puts the given values in and checks all.
func (d *Document) params(given map[string]string) (map[string]parameter, Errors) {
	var errs Errors
	all := map[string]parameter{}
	declared := d.Pipeline.Params
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		bad := func(problem, hint string) { errs = append(errs, d.At("params."+name, problem, hint)) }
		if !plainName.MatchString(name) {
			errs = append(errs, d.At("params", fmt.Sprintf("%q can not be the name of a parameter", name), "use letters, digits and _"))
			continue
		}
		value, set := given[name]
		p := parameter{name: name}
		switch v := declared[name].(type) {
		case map[string]any:
			p = d.typed(name, v, value, set, &errs)
		case []any, nil:
			bad("a parameter is one value", "or declare it, such as {type: UInt32, default: 5}")
			p.wrong = true
		default:
			if p.given = fmt.Sprint(v); set {
				p.given, p.wrong = value, !p.takes(v, value, bad)
			}
			p.text = p.given
		}
		all[name] = p
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, ok := declared[name]; ok {
			continue
		}
		hint := "the pipeline declares no parameters"
		if len(declared) > 0 {
			hint = "it declares " + strings.Join(slices.Sorted(maps.Keys(declared)), ", ")
		}
		errs = append(errs, d.At("params", fmt.Sprintf("the pipeline has no parameter %s", name), hint))
	}
	return all, errs
}

// takes checks a value that is given for a parameter whose type its default says.
func (p parameter) takes(declared any, value string, bad func(problem, hint string)) bool {
	kind, called := "", ""
	switch declared.(type) {
	case int, int64, uint64:
		kind, called = "Int256", "a whole number"
	case float64:
		kind, called = "Float64", "a number"
	case bool:
		kind, called = "Bool", "true or false"
	default:
		return true
	}
	t, _ := paramTypeOf(kind)
	if _, err := t.check(value); err != nil {
		bad(fmt.Sprintf("%s is expected for %s, as its default is, and %q is given", called, p.name, value),
			fmt.Sprintf("declare what it takes, such as %s: {type: String, default: %v}", p.name, declared))
		return false
	}
	return true
}

// jobTime is the reference that a value may be: what it stands for is a time.
const jobTime = "${job_time}"

// declaration are the keys of a parameter with a type.
var declaration = []string{"type", "default", "enum"}

// typed is a parameter that is declared as a mapping. It adds what is wrong to
// errs.
func (d *Document) typed(name string, decl map[string]any, value string, set bool, errs *Errors) parameter {
	p := parameter{name: name}
	bad := func(key, problem, hint string) {
		*errs = append(*errs, d.At(strings.TrimSuffix("params."+name+"."+key, "."), problem, hint))
		p.wrong = true
	}
	for _, key := range slices.Sorted(maps.Keys(decl)) {
		if !slices.Contains(declaration, key) {
			hint := "a parameter has type, default and enum"
			if near := nearest(key, declaration); near != "" {
				hint = "did you mean " + near + "?"
			}
			bad(key, "unknown key "+key, hint)
		}
	}
	text, _ := decl["type"].(string)
	t, err := paramTypeOf(text)
	switch {
	case text == "":
		bad("", "the parameter "+name+" has no type", "write {type: String, default: …}, or a value alone")
		return p
	case err != nil:
		bad("type", err.Error(), "numbers, String, FixedString(n), Bool, Date, DateTime, DateTime64(n), Decimal(p, s), UUID, IPv4, IPv6, Enum8('a' = 1, …), Array(…) of them")
		return p
	}
	p.typ = &t
	check := func(key, what, value string) string {
		if late(strings.TrimSuffix(strings.TrimPrefix(value, "${"), "}")) && strings.HasPrefix(value, "${") {
			if value == jobTime && t.jobTime() {
				return value
			}
			bad(key, what+" refers to what is not known yet, so that it can not be checked", "write the reference where the value is used; ${job_time} can be a DateTime of UTC")
			return ""
		}
		checked, err := t.check(value)
		if err != nil {
			bad(key, fmt.Sprintf("%s: %v", what, err), "")
		}
		return checked
	}
	var allowed []string
	if list, ok := decl["enum"].([]any); ok {
		for _, v := range list {
			allowed = append(allowed, check("enum", "a value of enum", paramText(v)))
		}
	} else if decl["enum"] != nil {
		bad("enum", "a list is expected", "such as enum: [eu, us]")
	}
	among := func(key, what, value string) {
		if !p.wrong && decl["enum"] != nil && !slices.Contains(allowed, value) {
			bad(key, fmt.Sprintf("%s: %q is not one of %s", what, value, strings.Join(allowed, ", ")), "")
		}
	}
	if v, there := decl["default"]; there && v != nil {
		p.given = paramText(v)
		p.text = check("default", "the default of "+name, p.given)
		among("default", "the default of "+name, p.text)
	} else if !set {
		bad("", "the parameter "+name+" has no value", fmt.Sprintf("give it, a %s, with --set %s=…, or write a default", t.text, name))
	}
	if set && !p.wrong {
		p.given = value
		p.text = check("", "the value given for "+name, value)
		among("", "the value given for "+name, p.text)
	}
	return p
}

// paramText is the text of a value of the file.
func paramText(v any) string {
	list, ok := v.([]any)
	if !ok {
		return fmt.Sprint(v)
	}
	items := make([]string, len(list))
	for i, item := range list {
		items[i] = fmt.Sprint(item)
	}
	text, _ := json.Marshal(items) // texts can be encoded
	return string(text)
}

// substitute fills the values of the parameters into every string of the
// pipeline.
func (d *Document) substitute(given map[string]string) Errors {
	params, errs := d.params(given)
	d.Pipeline.Params = nil
	for name, p := range params {
		if d.Pipeline.Params == nil {
			d.Pipeline.Params = map[string]any{}
		}
		d.Pipeline.Params[name] = p.text
	}
	f := &filling{d: d, params: params}
	walkStrings(reflect.ValueOf(d.Pipeline).Elem(), "", func(key, s string) string {
		switch {
		case strings.HasPrefix(key, "params"):
			return s
		case sqlKey.MatchString(key):
			return f.sql(key, s)
		}
		return reference.ReplaceAllStringFunc(s, func(ref string) string { return f.refer(key, ref, notSQL) })
	})
	return append(errs, f.errs...)
}

// sqlKey are the keys whose text is a SELECT, or a part of one, of ClickHouse.
var sqlKey = regexp.MustCompile(`(^|\.)(transform|query\.sql|generate\.select|clickhouse\.(query|where))$|^lookups\.[^.]+\.query$`)

// filling fills values into texts and collects what is wrong.
type filling struct {
	d      *Document
	params map[string]parameter
	errs   Errors
}

// Where a reference stands, if not within quotes.
const (
	notSQL byte = 0
	inSQL  byte = 1
)

// refer is what a reference such as ${since} becomes, where it stands in no SQL,
// in SQL or within those quotes of it.
func (f *filling) refer(key, ref string, where byte) string {
	name := strings.TrimSuffix(ref[strings.IndexByte(ref, '{')+1:], "}")
	if strings.HasPrefix(ref, "$$") || late(name) {
		return ref
	}
	p, ok := f.params[name]
	if !ok {
		f.unknown(key, name)
		return ""
	}
	switch {
	case p.wrong:
		return ""
	case p.typ == nil || p.text == jobTime:
		return p.text
	case where == notSQL:
		return unresolved(p.text)
	case where == inSQL && !p.typ.bare():
		f.errs = append(f.errs, f.d.At(key, fmt.Sprintf("the value of %s, a %s, would be a piece of the SQL", name, p.typ.text),
			fmt.Sprintf("write {%s:%s} for the value, or quotes around ${%s}", name, p.typ.text, name)))
		return ""
	case where == inSQL:
		return unresolved(p.text)
	}
	return unresolved(sqlEscape(p.text, where))
}

// unresolved keeps Resolve from seeing a reference in a value.
func unresolved(value string) string { return strings.ReplaceAll(value, "${", "$${") }

func (f *filling) unknown(key, name string) {
	hint := "declare it under params; $${ writes ${ itself"
	if near := nearest(name, append(slices.Collect(maps.Keys(f.params)), "job_time")); near != "" {
		hint = fmt.Sprintf("did you mean ${%s}?", near)
	}
	f.errs = append(f.errs, f.d.At(key, fmt.Sprintf("there is no parameter %s", name), hint))
}

var (
	referenceHere = regexp.MustCompile(`^\$?\$\{[^}]*\}`)
	heredoc       = regexp.MustCompile(`^\$\w*\$`)
	typedHere     = regexp.MustCompile(`^\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*:\s*([^{}]+?)\s*\}`)
)

// sql fills values into SQL: ${name}, and {name:Type} as ClickHouse writes the
// parameters of a query. What stands in comments stays as it is.
func (f *filling) sql(key, s string) string {
	var out strings.Builder
	for where := inSQL; s != ""; {
		n, text := f.step(key, s, &where)
		out.WriteString(text)
		s = s[n:]
	}
	return out.String()
}

// step is how many of the first bytes of s belong together, and what becomes of
// them. It keeps where up to date: inSQL, or the quote that is open.
func (f *filling) step(key, s string, where *byte) (n int, text string) {
	n = 1
	switch c := s[0]; {
	case c == '$' && referenceHere.MatchString(s):
		ref := referenceHere.FindString(s)
		return len(ref), f.refer(key, ref, *where)
	case *where != inSQL && c == '\\' && len(s) > 1 && s[1] != '$':
		n = 2
	case *where != inSQL:
		if c == *where {
			*where = inSQL
		}
	case strings.IndexByte("'\"`", c) >= 0:
		*where = c
	case strings.HasPrefix(s, "--"), strings.HasPrefix(s, "# "), strings.HasPrefix(s, "#!"):
		n = through(s, "\n", 0)
	case strings.HasPrefix(s, "/*"):
		n = through(s, "*/", 2)
	case c == '$' && heredoc.MatchString(s):
		tag := heredoc.FindString(s)
		n = through(s, tag, len(tag))
	case c == '{':
		if m := typedHere.FindStringSubmatch(s); m != nil {
			return len(m[0]), f.bind(key, m[1], m[2])
		}
	}
	return n, s[:n]
}

// through is the length of s up to the end of the first end at from or later.
func through(s, end string, from int) int {
	if i := strings.Index(s[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(s)
}

// bind is the value of {name:Type}.
func (f *filling) bind(key, name, typ string) string {
	bad := func(problem, hint string) string {
		f.errs = append(f.errs, f.d.At(key, problem, hint))
		return ""
	}
	p, ok := f.params[name]
	if !ok {
		f.unknown(key, name)
		return ""
	}
	if p.wrong {
		return ""
	}
	if typ == "Identifier" {
		return "`" + sqlEscape(unresolved(p.text), '`') + "`"
	}
	t, err := paramTypeOf(typ)
	switch {
	case err != nil:
		return bad(err.Error(), "")
	case p.text == jobTime && t.jobTime():
		return fmt.Sprintf("CAST('%s', %s)", jobTime, sqlText(typ))
	case strings.Contains(p.text, "${") && p.typ == nil:
		return bad(fmt.Sprintf("the value of %s refers to what is not known yet, so that it can not be checked", name), "write the reference where the value is used")
	case p.typ == nil:
	case t.text == "String":
		return unresolved(sqlText(p.text))
	case !p.typ.same(t):
		return bad(fmt.Sprintf("%s is declared as %s", name, p.typ.text), fmt.Sprintf("write {%s:%s}", name, p.typ.text))
	}
	value := p.given
	if _, err := t.check(value); err != nil {
		return bad(fmt.Sprintf("the value of %s: %v", name, err), "")
	}
	return unresolved(t.literal(value))
}

// Outline is what a pipeline file declares that is looked at before its
// parameters have values.
type Outline struct {
	Params map[string]any `yaml:"params"` // by name; as they are declared
	Tests  []Test         `yaml:"tests"`
}

// ReadOutline reads the outline of the pipeline file at path. Of a file with
// mistakes it is empty: Read says which.
func ReadOutline(path string) Outline {
	info, err := os.Stat(path)
	if err != nil || info.Size() > MaxBytes {
		return Outline{}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Outline{}
	}
	return ParseOutline(string(text))
}

// ParseOutline reads the outline of a pipeline's text. Of a text with mistakes
// it is empty: Parse says which.
func ParseOutline(text string) Outline {
	var o Outline
	if len(text) > MaxBytes || yaml.Unmarshal([]byte(text), &o) != nil {
		return Outline{}
	}
	return o
}
