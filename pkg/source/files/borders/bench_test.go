package borders

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

func BenchmarkCutters(b *testing.B) {
	const size = 64 << 20
	fill := func(line func(i int) string) []byte {
		var buf bytes.Buffer
		for i := 0; buf.Len() < size; i++ {
			buf.WriteString(line(i))
		}
		return buf.Bytes()
	}
	few := fill(func(i int) string {
		return fmt.Sprintf("%d,2024-01-02 03:04:05,city %d,%d.25,\"a, b\",xyzzy,%d\n", i, i%97, i*7, i%1000)
	})
	plain := fill(func(i int) string {
		return fmt.Sprintf("%d,2024-01-02 03:04:05,city %d,%d.25,ab,xyzzy,%d\n", i, i%97, i*7, i%1000)
	})
	all := fill(func(i int) string {
		return fmt.Sprintf("\"%d\",\"2024-01-02 03:04:05\",\"city %d\",\"%d.25\",\"ab\",\"xyzzy\"\n", i, i%97, i*7)
	})
	rows := fill(func(i int) string {
		return fmt.Sprintf(`{"id":%d,"at":"2024-01-02 03:04:05","city":"city %d","price":%d.25,"tags":["a","b"],"note":"some longer text that says nothing"}`+"\n", i, i%97, i*7)
	})
	short := fill(func(i int) string {
		return fmt.Sprintf(`{"date":"2001/01/01 00:47","delay":%d,"distance":1750,"origin":"DTW","destination":"LAS"},`, i%99)
	})
	escaped := fill(func(int) string { return `{"a":"` + strings.Repeat(`thirty letters and a quote \" `, 8) + `"}` + "\n" })
	for _, c := range []struct {
		name string
		data []byte
		make func(io.ReaderAt, int64) Cutter
	}{
		{"csv/no quotes", plain, newTestCSV},
		{"csv/one quoted field", few, newTestCSV},
		{"csv/all quoted", all, newTestCSV},
		{"json/lines", rows, newTestJSON},
		{"json/short", short, newTestJSON},
		{"json/escapes", escaped, newTestJSON},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.data)))
			before := cpu(b)
			for b.Loop() {
				if _, _, err := ranges(c.make(bytes.NewReader(c.data), int64(len(c.data))), Position{}, 8<<20); err != nil {
					b.Fatal(err)
				}
			}
			// On a machine that others use, the wall says little.
			b.ReportMetric(float64(len(c.data))*float64(b.N)/1e6/(cpu(b)-before).Seconds(), "MB/cpu-s")
		})
	}
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func newTestCSV(r io.ReaderAt, n int64) Cutter {
	return NewCSV(CSV{Delimiter: ',', Quote: '"'}, r, n)
}

func newTestJSON(r io.ReaderAt, n int64) Cutter { return NewJSON(JSON{Open: '{'}, r, n) }
