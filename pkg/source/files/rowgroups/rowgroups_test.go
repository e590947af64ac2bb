package rowgroups

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"pgregory.net/rapid"
)

type row struct {
	ID   int64              `parquet:"id"`
	Name string             `parquet:"name,dict"`
	Tags []string           `parquet:"tags,list"`
	In   struct{ X, Y int } `parquet:"in"`
	Map  map[string]int32   `parquet:"map"`
	Null *float64           `parquet:"null,optional"`
}

// sample is a Parquet file with row groups of the given sizes.
func sample(t interface{ Fatal(...any) }, groups ...int) []byte {
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b, parquet.BloomFilters(parquet.SplitBlockFilter(10, "name")), parquet.KeyValueMetadata("who", "we"))
	id := int64(0)
	for _, n := range groups {
		for range n {
			r := row{ID: id, Name: fmt.Sprint(id % 7), Tags: []string{"a", fmt.Sprint(id)}, Map: map[string]int32{"k": int32(id)}}
			if id%3 > 0 {
				f := float64(id)
				r.Null = &f
			}
			if _, err := w.Write([]row{r}); err != nil {
				t.Fatal(err)
			}
			id++
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func ids(t interface{ Fatal(...any) }, r io.ReaderAt, size int64) []int64 {
	f, err := parquet.OpenFile(r, size)
	if err != nil {
		t.Fatal(err)
	}
	var all []int64
	g := parquet.NewGenericReader[row](f)
	defer g.Close()
	rows := make([]row, 10)
	for {
		n, err := g.Read(rows)
		for _, r := range rows[:n] {
			all = append(all, r.ID)
			if len(r.Tags) != 2 || r.Tags[1] != fmt.Sprint(r.ID) || r.Map["k"] != int32(r.ID) {
				t.Fatal(fmt.Sprintf("row %d reads as %+v", r.ID, r))
			}
		}
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestCopyProperty: any run of row groups, read by another library, has the
// rows of these groups.
func TestCopyProperty(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		groups := rapid.SliceOfN(rapid.IntRange(1, 30), 1, 40).Draw(t, "groups")
		data := sample(t, groups...)
		f, err := Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(f.Columns(), " "); got != "id name tags in map null" {
			t.Fatalf("columns %s", got)
		}
		from := rapid.IntRange(0, len(groups)-1).Draw(t, "from")
		to := rapid.IntRange(from+1, len(groups)).Draw(t, "to")
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if err := f.Copy(out, from, to); err != nil {
			t.Fatal(err)
		}
		info, _ := out.Stat()
		got := ids(t, out, info.Size())
		first, n := 0, 0
		for i, g := range groups {
			if f.Groups()[i].Rows != int64(g) || f.Groups()[i].Bytes <= 0 {
				t.Fatalf("group %d: %+v", i, f.Groups()[i])
			}
			if i < from {
				first += g
			} else if i < to {
				n += g
			}
		}
		if len(got) != n {
			t.Fatalf("%d rows, not %d", len(got), n)
		}
		for i, id := range got {
			if id != int64(first+i) {
				t.Fatalf("row %d has id %d, not %d", i, id, first+i)
			}
		}
	})
}

// TestKeepAll: all groups kept is the footer as it was.
func TestKeepAll(t *testing.T) {
	for _, n := range []int{1, 14, 15, 200} {
		groups := make([]int, n)
		for i := range groups {
			groups[i] = 1
		}
		data := sample(t, groups...)
		f, err := Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.parts.keep(f.raw, 0, n, f.rows(0, n)), f.raw) {
			t.Errorf("%d groups: the footer changed", n)
		}
	}
}

func TestDamage(t *testing.T) {
	data := sample(t, 3, 3)
	tail := func(n uint32, magic string) []byte {
		return append(binary.LittleEndian.AppendUint32(bytes.Clone(data[:len(data)-8]), n), magic...)
	}
	for name, d := range map[string][]byte{
		"empty":            nil,
		"short":            []byte("PAR1PAR1"),
		"cut off":          data[:len(data)-3],
		"encrypted":        tail(10, "PARE"),
		"footer too large": tail(1<<31, "PAR1"),
		"footer too small": tail(3, "PAR1"),
		"no footer":        tail(0, "PAR1"),
	} {
		if _, err := Read(bytes.NewReader(d), int64(len(d))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzFooter: no footer makes Read or Copy panic, or take much memory.
func FuzzFooter(f *testing.F) {
	data := sample(f, 3, 3)
	n := int(binary.LittleEndian.Uint32(data[len(data)-8:]))
	f.Add(data[len(data)-8-n : len(data)-8])
	f.Fuzz(func(t *testing.T, footer []byte) {
		d := append([]byte("PAR1"), footer...)
		d = append(binary.LittleEndian.AppendUint32(d, uint32(len(footer))), "PAR1"...)
		got, err := Read(bytes.NewReader(d), int64(len(d)))
		if err != nil {
			return
		}
		got.Columns()
		if len(got.Groups()) > 0 {
			_ = got.Copy(nowhere{}, 0, len(got.Groups()))
		}
	})
}

type nowhere struct{}

func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
func (nowhere) Truncate(int64) error                   { return nil }
