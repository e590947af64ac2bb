package rowgroups

import (
	"encoding/binary"
	"errors"
)

// layout is where the parts of a footer are in its bytes. A footer is a struct
// in Thrift's compact protocol; field 3 is the number of rows, field 4 the list
// of row groups.
type layout struct {
	rows   [2]int // the value of field 3
	list   [2]int // the value of field 4: its header and its elements
	groups []part // the elements
}

// part is a row group: its bytes, and in them the value of field 7, its number
// in the file; both 0 when it has none.
type part struct{ from, to, numberFrom, numberTo int }

// Fields of FileMetaData, and of RowGroup.
const (
	fieldRows    = 3
	fieldGroups  = 4
	fieldOrdinal = 7
)

// Types of the compact protocol.
const (
	typeStop   = 0
	typeTrue   = 1
	typeFalse  = 2
	typeByte   = 3
	typeI16    = 4
	typeI32    = 5
	typeI64    = 6
	typeDouble = 7
	typeBinary = 8
	typeList   = 9
	typeSet    = 10
	typeMap    = 11
	typeStruct = 12
	typeUUID   = 13
)

var errEncoding = errors.New("its encoding is damaged")

// maxNesting limits how deep structures may lie in one another.
const maxNesting = 64

// layOut finds the parts of a footer.
func layOut(raw []byte) (layout, error) {
	var l layout
	w := walker{b: raw}
	id := int64(0)
	for {
		kind, next := w.field(id)
		if w.err != nil {
			return l, w.err
		}
		if kind == typeStop {
			break
		}
		id = next
		start := w.at
		if id == fieldGroups && kind == typeList {
			elem, n := w.listHeader()
			if w.err == nil && elem != typeStruct {
				w.err = errEncoding
			}
			for range n {
				g := w.group()
				if w.err != nil {
					break
				}
				l.groups = append(l.groups, g)
			}
			l.list = [2]int{start, w.at}
		} else {
			w.skip(kind, 0)
			if id == fieldRows {
				l.rows = [2]int{start, w.at}
			}
		}
		if w.err != nil {
			return l, w.err
		}
	}
	if l.rows[1] == 0 || l.list[1] == 0 || l.rows[1] > l.list[0] {
		return l, errEncoding
	}
	return l, nil
}

// keep returns the footer raw with the row groups [from, to) alone, which have
// so many rows.
func (l layout) keep(raw []byte, from, to int, rows int64) []byte {
	out := append([]byte(nil), raw[:l.rows[0]]...)
	out = binary.AppendVarint(out, rows) // zigzag, as in Thrift
	out = append(out, raw[l.rows[1]:l.list[0]]...)
	if n := to - from; n < 15 {
		out = append(out, byte(n<<4|typeStruct))
	} else {
		out = append(out, 0xf0|typeStruct)
		out = binary.AppendUvarint(out, uint64(n))
	}
	for i, g := range l.groups[from:to] {
		if g.numberTo == 0 {
			out = append(out, raw[g.from:g.to]...)
			continue
		}
		out = append(out, raw[g.from:g.numberFrom]...)
		out = binary.AppendVarint(out, int64(i))
		out = append(out, raw[g.numberTo:g.to]...)
	}
	return append(out, raw[l.list[1]:]...)
}

// group steps over a row group.
func (w *walker) group() part {
	g := part{from: w.at}
	id := int64(0)
	for w.err == nil {
		kind, next := w.field(id)
		if kind == typeStop {
			break
		}
		id = next
		start := w.at
		w.skip(kind, 1)
		if id == fieldOrdinal && kind == typeI16 {
			g.numberFrom, g.numberTo = start, w.at
		}
	}
	g.to = w.at
	return g
}

// walker steps over values. After an error it stays where it is.
type walker struct {
	b   []byte
	at  int
	err error
}

func (w *walker) byte() byte {
	if w.err != nil || w.at >= len(w.b) {
		w.err = errEncoding
		return 0
	}
	w.at++
	return w.b[w.at-1]
}

func (w *walker) uvarint() uint64 {
	if w.err != nil {
		return 0
	}
	v, n := binary.Uvarint(w.b[w.at:])
	if n <= 0 {
		w.err = errEncoding
		return 0
	}
	w.at += n
	return v
}

func (w *walker) advance(n uint64) {
	if w.err == nil && n > uint64(len(w.b)-w.at) {
		w.err = errEncoding
	}
	if w.err == nil {
		w.at += int(n)
	}
}

// field reads the head of the field after the field last.
func (w *walker) field(last int64) (kind byte, id int64) {
	h := w.byte()
	if kind = h & 0x0f; kind == typeStop {
		return typeStop, last
	}
	if delta := h >> 4; delta != 0 {
		return kind, last + int64(delta)
	}
	v := w.uvarint()
	return kind, int64(v>>1) ^ -int64(v&1)
}

func (w *walker) listHeader() (elem byte, n uint64) {
	h := w.byte()
	elem, n = h&0x0f, uint64(h>>4)
	if n == 15 {
		n = w.uvarint()
	}
	if n > uint64(len(w.b)) { // an element takes a byte at least
		w.err = errEncoding
		n = 0
	}
	return elem, n
}

func (w *walker) skip(kind byte, depth int) {
	if depth > maxNesting {
		w.err = errEncoding
	}
	if w.err != nil {
		return
	}
	switch kind {
	case typeTrue, typeFalse:
	case typeByte:
		w.advance(1)
	case typeI16, typeI32, typeI64:
		w.uvarint()
	case typeDouble:
		w.advance(8)
	case typeUUID:
		w.advance(16)
	case typeBinary:
		w.advance(w.uvarint())
	case typeList, typeSet:
		elem, n := w.listHeader()
		for range n {
			w.element(elem, depth+1)
		}
	case typeMap:
		n := w.uvarint()
		if n == 0 {
			return
		}
		if n > uint64(len(w.b)) {
			w.err = errEncoding
			return
		}
		h := w.byte()
		for range n {
			w.element(h>>4, depth+1)
			w.element(h&0x0f, depth+1)
		}
	case typeStruct:
		id := int64(0)
		for w.err == nil {
			k, next := w.field(id)
			if k == typeStop {
				return
			}
			id = next
			w.skip(k, depth+1)
		}
	default:
		w.err = errEncoding
	}
}

// element skips a value in a collection, where a boolean takes a byte.
func (w *walker) element(kind byte, depth int) {
	if kind == typeTrue || kind == typeFalse {
		w.advance(1)
		return
	}
	w.skip(kind, depth)
}
