package native

import (
	"errors"
	"fmt"
	"slices"
)

// layout copies the values of one column. What stands before all values of a
// column, of the types within it too, is its prefix.
type layout struct {
	*copier

	err error // a layout that is not known
}

// values copies the values of so many rows.
type values func(rows uint64)

// shared is the type of what a Dynamic keeps of types that have no column of
// their own.
const shared = "SharedVariant"

// How Dynamic and JSON are written, as their prefix says.
const (
	dynamicV1 = 1
	dynamicV2 = 2
	jsonV1    = 0
	jsonText  = 1
	jsonV2    = 2
)

// prefix copies the prefix of a type, and returns how its values are copied.
func (l *layout) prefix(k kind) values {
	switch k.name {
	case "String":
		return l.strings
	case "Nullable":
		inner := l.prefix(k.args[0])
		return func(rows uint64) { l.bytes(rows); inner(rows) }
	case "Array":
		return l.lists(l.prefix(k.args[0]))
	case "Map":
		key, value := l.prefix(k.args[0]), l.prefix(k.args[1])
		return l.lists(func(rows uint64) { key(rows); value(rows) })
	case "Tuple":
		if len(k.args) == 0 {
			return l.bytes // it has a byte a row
		}
		return l.all(k.args)
	case "LowCardinality":
		return l.dictionary(k.args[0])
	case "Variant":
		return l.variant(k.args)
	case "Dynamic":
		return l.dynamic()
	case "JSON":
		return l.json(k)
	}
	return func(rows uint64) { l.bytes(rows * k.size) }
}

// unknown ends the column at something that this package does not know.
func (l *layout) unknown(what string, version uint64) values {
	if l.copier.err == nil && l.err == nil {
		l.err = fmt.Errorf("%s %d: %w", what, version, ErrOpaque)
	}
	return func(uint64) {}
}

// all copies several types, one after the other.
func (l *layout) all(kinds []kind) values {
	each := make([]values, len(kinds))
	for i, k := range kinds {
		each[i] = l.prefix(k)
	}
	return func(rows uint64) {
		for _, copyValues := range each {
			copyValues(rows)
		}
	}
}

// lists copies the ends of lists, and then the elements of all of them.
func (l *layout) lists(elements values) values {
	return func(rows uint64) {
		if rows == 0 {
			return
		}
		l.bytes((rows - 1) * 8)
		if n := l.word(); l.ok() && n > 0 {
			elements(n)
		}
	}
}

func (l *layout) ok() bool { return l.copier.err == nil && l.err == nil }

// The bits of what a LowCardinality says of its values.
const (
	indexMask      = 0xff // 0 to 3: an index of 1, 2, 4 or 8 bytes
	globalKeys     = 1 << 8
	additionalKeys = 1 << 9
)

// dictionary copies a LowCardinality: its keys, and an index of a key for each
// row. A NULL is a key, which has no mark of its own.
func (l *layout) dictionary(k kind) values {
	if version := l.word(); version != 1 {
		return l.unknown("a dictionary of version", version)
	}
	if k.name == "Nullable" {
		k = k.args[0]
	}
	keys := l.prefix(k)
	return func(rows uint64) {
		for rows > 0 && l.ok() {
			flags := l.word()
			if flags&indexMask > 3 || flags&globalKeys != 0 {
				l.unknown("a dictionary with the flags", flags)
				return
			}
			if flags&additionalKeys != 0 {
				keys(l.word())
			}
			n := l.word()
			if n == 0 || n > rows {
				l.fail(ErrMalformed)
				return
			}
			l.bytes(n << (flags & indexMask))
			rows -= n
		}
	}
}

// null is the type of a row of a Variant that has no value.
const null = 255

// variant copies the type of each row, and then the values type by type.
func (l *layout) variant(kinds []kind) values {
	if mode := l.word(); mode != 0 {
		return l.unknown("a Variant of mode", mode)
	}
	each := make([]values, len(kinds))
	for i, k := range kinds {
		each[i] = l.prefix(k)
	}
	return func(rows uint64) {
		var counts [256]uint64
		l.each(rows, func(p []byte) {
			for _, typ := range p {
				counts[typ]++
			}
		})
		for typ, n := range counts {
			if n == 0 || typ == null || !l.ok() {
				continue
			}
			if typ >= len(each) {
				l.fail(ErrMalformed)
				return
			}
			each[typ](n)
		}
	}
}

// dynamic copies a Variant of the types that it names itself, in the order of
// their names.
func (l *layout) dynamic() values {
	version := l.word()
	switch version {
	case dynamicV1:
		l.varint() // how many types there may be
	case dynamicV2:
	default:
		return l.unknown("a Dynamic of version", version)
	}
	n := l.varint()
	if n > null {
		return l.unknown("a Dynamic with types:", n)
	}
	names := []string{shared}
	for range n {
		names = append(names, l.text())
	}
	if !l.ok() {
		return l.unknown("a Dynamic of version", version)
	}
	slices.Sort(names)
	kinds := make([]kind, len(names))
	for i, name := range names {
		k, err := parse(name)
		switch {
		case name == shared:
			k = kind{name: "String"}
		case err == nil && k.opaque():
			err = ErrOpaque
			fallthrough
		case err != nil:
			l.err = errors.Join(l.err, fmt.Errorf("a Dynamic with the type %s: %w", name, err))
			return func(uint64) {}
		}
		kinds[i] = k
	}
	return l.variant(kinds)
}

// json copies a JSON: the values of its typed paths, then of those it names
// itself, each a Dynamic, then of all other paths in lists of path and value.
func (l *layout) json(k kind) values {
	version := l.word()
	switch version {
	case jsonText:
		return l.strings
	case jsonV1:
		l.varint() // how many paths there may be
	case jsonV2:
	default:
		return l.unknown("a JSON of version", version)
	}
	n := l.varint()
	if n > maxColumns {
		return l.unknown("a JSON with paths:", n)
	}
	for range n {
		if !l.ok() {
			break
		}
		l.text()
	}
	typed := l.all(k.args)
	paths := make([]values, 0, n)
	for range n {
		if !l.ok() {
			break
		}
		paths = append(paths, l.dynamic())
	}
	rest := l.lists(func(n uint64) { l.strings(n); l.strings(n) })
	return func(rows uint64) {
		typed(rows)
		for _, path := range paths {
			path(rows)
		}
		rest(rows)
	}
}
