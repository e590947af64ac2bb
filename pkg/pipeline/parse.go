package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"drayage/pkg/job"
)

// Document is a pipeline file that was read: the pipeline, and the places of
// its keys for later messages.
type Document struct {
	Pipeline *Pipeline
	Text     string // as given
	File     string // as given, for messages
	Dir      string // absolute; relative paths in the file start here
	ast      *ast.File
}

// Read reads the pipeline file at path. See Parse.
func Read(path string, params map[string]string) (*Document, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the pipeline file: %w", err)
	}
	if info.Size() > MaxBytes {
		return nil, Errors{{File: path, Problem: fmt.Sprintf("the file has %d bytes, a pipeline may have %d", info.Size(), MaxBytes)}}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the pipeline file: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("finding the folder of %s: %w", path, err)
	}
	return Parse(string(text), path, dir, params)
}

// Parse reads a pipeline: it refuses unknown keys and wrong types, fills in
// params (those of the file, overridden by params, each checked against its
// type), sets the defaults and
// checks every value that can be checked without an engine. Every mistake
// found is in the error, which is then of type Errors.
// ${job_time}, ${env:NAME} and ${file:PATH} are left for Resolve.
func Parse(text, file, dir string, params map[string]string) (*Document, error) {
	d := &Document{Pipeline: &Pipeline{}, Text: text, File: file, Dir: dir}
	tree, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return nil, Errors{d.yamlError(err)}
	}
	d.ast = tree
	if len(tree.Docs) == 0 || tree.Docs[0].Body == nil {
		return nil, Errors{{File: file, Line: 1, Column: 1, Problem: "the file is empty", Hint: "a pipeline needs at least pipeline, source and load; see docs/pipeline.md"}}
	}
	if err := yaml.UnmarshalWithOptions([]byte(text), d.Pipeline, yaml.DisallowUnknownField()); err != nil {
		return nil, Errors{d.yamlError(err)}
	}
	errs := d.substitute(params)
	d.Pipeline.setDefaults()
	errs = append(errs, d.check()...)
	if len(errs) > 0 {
		return nil, errs
	}
	return d, nil
}

// At makes an error about key (such as "load.table"), with its place.
func (d *Document) At(key, problem, hint string) *Error {
	line, column := d.Position(key)
	return &Error{File: d.File, Line: line, Column: column, Key: key, Problem: problem, Hint: hint}
}

// Position returns the line and column, from 1, where the value of key
// begins. For a key that is absent it is that of the nearest key above it.
func (d *Document) Position(key string) (line, column int) {
	for key != "" {
		if node := d.node(key); node != nil {
			return nodePosition(node)
		}
		dot := strings.LastIndexByte(key, '.')
		if dot < 0 {
			break
		}
		key = key[:dot]
	}
	return 1, 1
}

func (d *Document) node(key string) ast.Node {
	path, err := yaml.PathString("$." + key)
	if err != nil {
		return nil
	}
	node, err := path.FilterFile(d.ast)
	if err != nil {
		return nil
	}
	return node
}

func nodePosition(node ast.Node) (line, column int) {
	if m, ok := node.(*ast.MappingNode); ok && len(m.Values) > 0 {
		node = m.Values[0].Key
	} else if m, ok := node.(*ast.MappingValueNode); ok {
		node = m.Key
	}
	if lit, ok := node.(*ast.LiteralNode); ok {
		return lit.Start.Position.Line, lit.Start.Position.Column
	}
	p := node.GetToken().Position
	return p.Line, p.Column
}

// SQLError makes an error about a place inside the SQL of key: line and
// column are counted from 1 within the SQL and mapped to the file.
func (d *Document) SQLError(key string, line, column int, problem, hint string) *Error {
	e := d.At(key, problem, hint)
	if line < 1 {
		return e
	}
	lit, ok := d.node(key).(*ast.LiteralNode)
	if !ok {
		if e.Line > 0 && line == 1 {
			e.Column += column - 1
		}
		return e
	}
	lines := strings.Split(d.Text, "\n")
	first := lit.Start.Position.Line + 1 // the block begins on the line below its | or >
	at := first + line - 1
	if at > len(lines) {
		return e
	}
	indent := len(lines[first-1]) - len(strings.TrimLeft(lines[first-1], " "))
	e.Line, e.Column = at, indent+column
	return e
}

// yamlError turns the YAML library's error into ours.
func (d *Document) yamlError(err error) *Error {
	e := &Error{File: d.File, Problem: err.Error()}
	var typed yaml.Error
	if !errors.As(err, &typed) {
		return e
	}
	e.Problem = typed.GetMessage()
	token := typed.GetToken()
	if token == nil {
		return e
	}
	e.Line, e.Column = token.Position.Line, token.Position.Column
	var unknown *yaml.UnknownFieldError
	if errors.As(err, &unknown) {
		e.Problem = fmt.Sprintf("unknown key %s", token.Value)
		if near := nearest(token.Value, keys(reflect.TypeFor[Pipeline](), nil)); near != "" {
			e.Hint = fmt.Sprintf("did you mean %s? docs/pipeline.md lists the keys", near)
		} else {
			e.Hint = "docs/pipeline.md lists the keys"
		}
	}
	var other *yaml.TypeError
	if errors.As(err, &other) {
		e.Problem = fmt.Sprintf("%s is expected, and this is %s", called(other.DstType), called(other.SrcType))
	}
	return e
}

// called is how a file calls values of a type.
func called(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return "nothing"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a mapping of keys"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// keys lists the YAML keys of t and of what it contains.
func keys(t reflect.Type, out []string) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		return keys(t.Elem(), out)
	case reflect.Struct:
		for f := range t.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" {
				out = keys(f.Type, append(out, name))
			}
		}
	}
	return out
}

var (
	reference = regexp.MustCompile(`\$?\$\{([^}]*)\}`)
	plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	goodName  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
)

// late tells the references that only Resolve fills in.
func late(name string) bool {
	return name == "job_time" || strings.HasPrefix(name, "env:") || strings.HasPrefix(name, "file:")
}

// Resolver is where Resolve finds the values that are not part of a job.
type Resolver struct {
	JobTime time.Time
	From    Access
}

// Access is what may be read of the environment and of files; *allow.Rules is
// one. Its errors say why something may not.
type Access interface {
	LookupEnv(name string) (value string, set bool, err error)
	ReadFile(path string) ([]byte, error)
}

// ReferenceError is a reference that can not be resolved.
type ReferenceError struct {
	Key string // of the file
	Err error
}

func (e *ReferenceError) Error() string { return e.Key + ": " + e.Err.Error() }
func (e *ReferenceError) Unwrap() error { return e.Err }

// Resolve fills in ${job_time} (UTC, as ClickHouse writes a DateTime),
// ${env:NAME} and ${file:PATH} (without its last newline), and turns $${ into
// ${. It is done where the value is used, on the coordinator and on each
// worker, so that secrets are never part of a job. It changes p.
func (p *Pipeline) Resolve(r Resolver) error {
	var errs []error
	walkStrings(reflect.ValueOf(p).Elem(), "", func(key, s string) string {
		return reference.ReplaceAllStringFunc(s, func(ref string) string {
			name := strings.TrimSuffix(ref[strings.IndexByte(ref, '{')+1:], "}")
			switch {
			case strings.HasPrefix(ref, "$$"):
				return ref[1:]
			case name == "job_time":
				return r.JobTime.UTC().Format(time.DateTime)
			case strings.HasPrefix(name, "env:"):
				v, set, err := r.From.LookupEnv(name[4:])
				if err == nil && !set {
					err = fmt.Errorf("the environment variable %s is not set", name[4:])
				}
				if err == nil {
					p.keep(v)
					return v
				}
				errs = append(errs, &ReferenceError{key, err})
			case strings.HasPrefix(name, "file:"):
				text, err := r.From.ReadFile(name[5:])
				if err == nil {
					v := strings.TrimSuffix(string(text), "\n")
					p.keep(v)
					return v
				}
				errs = append(errs, &ReferenceError{key, err})
			}
			return ref
		})
	})
	return errors.Join(errs...)
}

// walkStrings replaces every string in v by what fn makes of it, and tells fn
// the YAML key of each.
func walkStrings(v reflect.Value, key string, fn func(key, s string) string) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(fn(key, v.String()))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			walkStrings(v.Elem(), key, fn)
		}
	case reflect.Struct:
		if s, ok := v.Interface().(Stage); ok {
			s.Settings.walk(key+"."+s.Name, fn)
			return
		}
		for f, field := range v.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			walkStrings(field, strings.TrimPrefix(key+"."+name, "."), fn)
		}
	case reflect.Slice:
		for i := range v.Len() {
			at := key
			if v.Type().Elem() == reflect.TypeFor[Stage]() {
				at = fmt.Sprintf("%s[%d]", key, i)
			}
			walkStrings(v.Index(i), at, fn)
		}
	case reflect.Map:
		if s, ok := v.Interface().(Settings); ok {
			s.walk(key, fn)
			return
		}
		for _, k := range v.MapKeys() {
			elem := reflect.New(v.Type().Elem()).Elem()
			elem.Set(v.MapIndex(k))
			walkStrings(elem, key+"."+k.String(), fn)
			v.SetMapIndex(k, elem)
		}
	}
}

// Thaw makes the pipeline that a job froze ready for use: decoded, with the
// references that Resolve fills in taken from this process's environment and
// files, as far as access allows. Its errors are marked job.Permanent, of a
// reference it is a *ReferenceError; but for *job.NewerError: a newer program
// froze something that this one does not know.
func Thaw(frozen json.RawMessage, jobTime time.Time, access Access) (*Pipeline, error) {
	p, err := Frozen(frozen)
	if err != nil {
		return nil, err
	}
	strict := json.NewDecoder(bytes.NewReader(frozen))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&Pipeline{}); err != nil {
		return nil, &job.NewerError{What: "the pipeline", Field: err.Error()}
	}
	if err := p.Resolve(Resolver{JobTime: jobTime, From: access}); err != nil {
		return nil, job.WithClass(fmt.Errorf("resolving the pipeline: %w", err), job.Permanent)
	}
	return p, nil
}

// SQL is the pipeline's SELECT: its transform, or everything.
func (p *Pipeline) SQL() string {
	if p.Transform == "" {
		return "SELECT * FROM chunk"
	}
	return p.Transform
}
