package native

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxDepth bounds types within types.
const maxDepth = 100

// kind is a type, taken apart as far as its values need it.
type kind struct {
	name string
	args []kind
	size uint64 // of a value in bytes, of those that have one size
}

// sizes are the bytes of a value of the types that have no arguments that
// change them.
//
//nolint:gochecknoglobals // a constant table
var sizes = map[string]uint64{
	"Bool": 1, "UInt8": 1, "Int8": 1, "Enum8": 1, "Nothing": 1,
	"UInt16": 2, "Int16": 2, "Enum16": 2, "Date": 2, "BFloat16": 2,
	"UInt32": 4, "Int32": 4, "Float32": 4, "Date32": 4, "DateTime": 4, "IPv4": 4, "Time": 4, "Decimal32": 4,
	"UInt64": 8, "Int64": 8, "Float64": 8, "DateTime64": 8, "Time64": 8, "Decimal64": 8,
	"UInt128": 16, "Int128": 16, "UUID": 16, "IPv6": 16, "Decimal128": 16,
	"UInt256": 32, "Int256": 32, "Decimal256": 32,
}

// others are the names of types that are another one underneath.
//
//nolint:gochecknoglobals // a constant table
var others = map[string]string{
	"Point": "Tuple(Float64, Float64)", "Ring": "Array(Point)", "LineString": "Array(Point)",
	"MultiLineString": "Array(LineString)", "Polygon": "Array(Ring)", "MultiPolygon": "Array(Polygon)",
}

// parse reads a type as a block names it. A type that is not known is opaque.
func parse(text string) (kind, error) { return parseWithin(text, 0) }

func parseWithin(text string, depth int) (kind, error) {
	text = strings.TrimSpace(text)
	if depth > maxDepth {
		return kind{}, fmt.Errorf("a type within %d others: %w", maxDepth, ErrOpaque)
	}
	if same, ok := others[text]; ok {
		return parseWithin(same, depth+1)
	}
	name, rest, has := strings.Cut(text, "(")
	var args []string
	if has {
		inner, ok := strings.CutSuffix(rest, ")")
		if !ok {
			return kind{}, fmt.Errorf("type %q: %w", text, ErrMalformed)
		}
		args = split(inner, ',')
	}
	k := kind{name: name}
	switch name {
	case "Decimal":
		k.size = decimal(args)
	case "FixedString":
		n, err := strconv.ParseUint(strings.Join(args, ""), 10, 32)
		if err != nil {
			return kind{}, fmt.Errorf("type %q: %w", text, ErrMalformed)
		}
		k.size = n
	case "SimpleAggregateFunction":
		if len(args) < 2 {
			return kind{}, fmt.Errorf("type %q: %w", text, ErrMalformed)
		}
		return parseWithin(args[len(args)-1], depth+1)
	case "Nested":
		return parseWithin("Array(Tuple("+strings.Join(args, ",")+"))", depth+1)
	case "JSON":
		return k.typed(args, depth)
	case "Tuple", "Array", "Map", "Nullable", "LowCardinality", "Variant":
		for _, arg := range args {
			inner, err := parseWithin(unnamed(arg), depth+1)
			if err != nil {
				return kind{}, err
			}
			k.args = append(k.args, inner)
		}
		if want := map[string]int{"Array": 1, "Map": 2, "Nullable": 1, "LowCardinality": 1}[name]; want > 0 && want != len(args) {
			return kind{}, fmt.Errorf("type %q: %w", text, ErrMalformed)
		}
	default:
		k.size = sizes[name]
		if strings.HasPrefix(name, "Interval") {
			k.size = 8
		}
	}
	return k, nil
}

// decimal is the size of Decimal(precision, scale).
func decimal(args []string) uint64 {
	precision := 0
	if len(args) > 0 {
		precision, _ = strconv.Atoi(strings.TrimSpace(args[0])) // 0 is opaque
	}
	switch {
	case precision <= 0 || precision > 76:
		return 0
	case precision <= 9:
		return 4
	case precision <= 18:
		return 8
	case precision <= 38:
		return 16
	}
	return 32
}

// typed gives a JSON the types of its typed paths, in the order of the paths,
// which is that of their values.
func (k kind) typed(args []string, depth int) (kind, error) {
	paths := map[string]string{}
	var order []string
	for _, arg := range args {
		path := strings.TrimSpace(arg)
		if path == "" || strings.HasPrefix(path, "SKIP ") || limit(path) {
			continue
		}
		parts := split(path, ' ')
		if len(parts) < 2 {
			return kind{}, fmt.Errorf("type JSON(%s): %w", strings.Join(args, ","), ErrMalformed)
		}
		path = strings.ReplaceAll(parts[0], "`", "")
		order = append(order, path)
		paths[path] = strings.Join(parts[1:], " ")
	}
	slices.Sort(order)
	for _, path := range order {
		inner, err := parseWithin(paths[path], depth+1)
		if err != nil {
			return kind{}, err
		}
		k.args = append(k.args, inner)
	}
	return k, nil
}

func limit(arg string) bool {
	name, _, ok := strings.Cut(arg, "=")
	name = strings.TrimSpace(name)
	return ok && (name == "max_dynamic_paths" || name == "max_dynamic_types")
}

// unnamed is an element of a Tuple without its name.
func unnamed(arg string) string {
	arg = strings.TrimSpace(arg)
	if parts := split(arg, ' '); len(parts) > 1 {
		return strings.Join(parts[1:], " ")
	}
	return arg
}

// split cuts text at a separator that is in no parentheses and no quotes.
func split(text string, at byte) (parts []string) {
	depth, start := 0, 0
	var quote byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		if quote != 0 {
			switch c {
			case '\\':
				i++
			case quote:
				quote = 0
			}
			continue
		}
		switch c {
		case '\'', '`', '"':
			quote = c
		case '(':
			depth++
		case ')':
			depth--
		}
		if c == at && depth == 0 {
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	if rest := text[start:]; rest != "" {
		parts = append(parts, rest)
	}
	return parts
}

// opaque reports whether the type, or one within it, does not say where its
// values end.
func (k kind) opaque() bool {
	for _, arg := range k.args {
		if arg.opaque() {
			return true
		}
	}
	switch k.name {
	case "Tuple", "Array", "Map", "Nullable", "LowCardinality", "Variant", "Dynamic", "JSON", "String":
		return false
	}
	return k.size == 0
}
