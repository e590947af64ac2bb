// Package rowgroups makes Parquet files of some row groups of another, without
// decoding a value: the bytes of the groups at their old places, the holes
// between them not stored, and a footer that lists them alone.
//
// The footer is cut at the level of its encoding, so all else in it (schema,
// types that this package never heard of, statistics) stays as it was.
package rowgroups

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// MaxFooter limits the size of a footer, in bytes.
const MaxFooter = 512 << 20

const magic = "PAR1"

// Group is a row group.
type Group struct {
	Rows  int64
	Bytes int64 // of its columns, as stored
}

// Footer is what the end of a Parquet file says.
type Footer struct {
	r      io.ReaderAt
	size   int64
	raw    []byte
	meta   format.FileMetaData
	parts  layout
	groups []Group
}

// Read reads the footer of the Parquet file r of size bytes.
func Read(r io.ReaderAt, size int64) (*Footer, error) {
	if size < 12 {
		return nil, fmt.Errorf("a Parquet file of %d bytes is cut off", size)
	}
	var tail [8]byte
	if _, err := r.ReadAt(tail[:], size-8); err != nil {
		return nil, fmt.Errorf("reading the footer: %w", err)
	}
	if string(tail[4:]) != magic {
		return nil, errors.New("it does not end like a Parquet file (PAR1): is it cut off, or encrypted?")
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > size-12 || n > MaxFooter {
		return nil, fmt.Errorf("its footer says to be %d bytes of a file of %d: is it cut off?", n, size)
	}
	f := &Footer{r: r, size: size, raw: make([]byte, n)}
	if _, err := r.ReadAt(f.raw, size-8-n); err != nil {
		return nil, fmt.Errorf("reading the footer: %w", err)
	}
	if err := thrift.Unmarshal(&thrift.CompactProtocol{}, f.raw, &f.meta); err != nil {
		return nil, fmt.Errorf("its footer does not parse: %w", err)
	}
	var err error
	if f.parts, err = layOut(f.raw); err != nil {
		return nil, fmt.Errorf("its footer does not parse: %w", err)
	}
	if len(f.parts.groups) != len(f.meta.RowGroups) {
		return nil, fmt.Errorf("its footer does not parse: %d row groups, or %d", len(f.parts.groups), len(f.meta.RowGroups))
	}
	for i := range f.meta.RowGroups {
		g := Group{Rows: f.meta.RowGroups[i].NumRows}
		spans, err := f.spans(i)
		if err != nil {
			return nil, err
		}
		for _, s := range spans {
			g.Bytes += s.size
		}
		f.groups = append(f.groups, g)
	}
	return f, nil
}

// Groups are the row groups of the file.
func (f *Footer) Groups() []Group { return f.groups }

// Columns are the names of the top-level columns.
func (f *Footer) Columns() []string {
	var names []string
	schema := f.meta.Schema
	for at := 1; at < len(schema); {
		names = append(names, schema[at].Name)
		// Pass over the element and all below it.
		for open := int64(1); open > 0 && at < len(schema); at++ {
			open += max(0, int64(schema[at].NumChildren.V)) - 1
		}
	}
	return names
}

// span is a run of bytes in the file.
type span struct{ at, size int64 }

// spans are the bytes that row group i consists of, with the indexes of its
// pages.
func (f *Footer) spans(i int) ([]span, error) {
	var all []span
	for c := range f.meta.RowGroups[i].Columns {
		col := &f.meta.RowGroups[i].Columns[c]
		if col.FilePath != "" {
			return nil, fmt.Errorf("its row groups are in another file, %s", col.FilePath)
		}
		m := &col.MetaData
		at := m.DataPageOffset
		for _, o := range []int64{m.DictionaryPageOffset, m.IndexPageOffset} {
			if o > 0 && o < at {
				at = o
			}
		}
		for _, s := range []span{
			{at, m.TotalCompressedSize},
			{col.OffsetIndexOffset, int64(col.OffsetIndexLength)},
			{col.ColumnIndexOffset, int64(col.ColumnIndexLength)},
			{m.BloomFilterOffset, int64(m.BloomFilterLength)},
		} {
			if s.size == 0 {
				continue
			}
			if s.at < 0 || s.size < 0 || s.at > f.size || s.size > f.size-s.at {
				return nil, fmt.Errorf("its row group %d has bytes %d to %d of %d: is it cut off?", i, s.at, s.at+s.size, f.size)
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// Destination is an empty file that Copy fills.
type Destination interface {
	io.WriterAt
	Truncate(size int64) error
}

// Copy writes the row groups from up to, and not with, to into w, which is then
// a Parquet file of these alone. What lies between them in the file stays a
// hole.
func (f *Footer) Copy(w Destination, from, to int) error {
	footer := f.parts.keep(f.raw, from, to, f.rows(from, to))
	end := f.size // beyond every group
	if err := w.Truncate(end + int64(len(footer)) + 8); err != nil {
		return err
	}
	if _, err := w.WriteAt([]byte(magic), 0); err != nil {
		return err
	}
	for i := from; i < to; i++ {
		spans, err := f.spans(i)
		if err != nil {
			return err
		}
		for _, s := range spans {
			n, err := io.Copy(io.NewOffsetWriter(w, s.at), io.NewSectionReader(f.r, s.at, s.size))
			if err != nil {
				return err
			}
			if n != s.size {
				return io.ErrUnexpectedEOF
			}
		}
	}
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
	_, err := w.WriteAt(append(footer, magic...), end)
	return err
}

func (f *Footer) rows(from, to int) int64 {
	var n int64
	for _, g := range f.groups[from:to] {
		n += g.Rows
	}
	return n
}
