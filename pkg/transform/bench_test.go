package transform_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/transform"
)

// BenchmarkStrict compares the strict reading of clean rows with that of the
// engine's own parsers: go test -bench Strict -run xxx -benchtime 5x
func BenchmarkStrict(b *testing.B) {
	for _, tt := range []struct {
		name, format string
		cols         []job.Column
		row          func(*strings.Builder, *rand.Rand, int)
	}{
		{"events", "CSV", []job.Column{{Name: "id", Type: "UInt64"}, {Name: "at", Type: "DateTime('UTC')"}, {Name: "user", Type: "UInt32"}, {Name: "country", Type: "String"}, {Name: "path", Type: "String"}, {Name: "agent", Type: "String"}, {Name: "ms", Type: "Float64"}, {Name: "amount", Type: "Nullable(Decimal(10, 2))"}},
			func(w *strings.Builder, r *rand.Rand, i int) {
				fmt.Fprintf(w, "%d,2026-%02d-%02d %02d:00:%02d,%d,US,/search/%d,\"Mozilla/5.0, Chrome/126\",%.3f,%.2f\n", i, i%12+1, i%28+1, i%24, i%60, r.IntN(2_000_000), r.IntN(100_000), r.ExpFloat64()*80, r.Float64()*500)
			}},
		{"numbers", "CSV", []job.Column{{Name: "a", Type: "Int64"}, {Name: "d", Type: "Date"}, {Name: "t", Type: "DateTime64(3, 'UTC')"}, {Name: "i", Type: "Int8"}, {Name: "p", Type: "UInt16"}, {Name: "c", Type: "String"}, {Name: "m", Type: "Decimal(18, 4)"}, {Name: "b", Type: "Bool"}},
			func(w *strings.Builder, r *rand.Rand, i int) {
				fmt.Fprintf(w, "%d,2026-%02d-%02d,2026-01-%02d %02d:00:00.%03d,%d,%d,DE,%.4f,true\n", i*1000003, i%12+1, i%28+1, i%28+1, i%24, i%1000, i%256-128, i%65536, r.Float64()*500)
			}},
		{"json", "JSONEachRow", []job.Column{{Name: "id", Type: "UInt64"}, {Name: "at", Type: "DateTime('UTC')"}, {Name: "user", Type: "UInt32"}, {Name: "path", Type: "String"}, {Name: "ms", Type: "Float64"}, {Name: "tags", Type: "Array(String)"}},
			func(w *strings.Builder, r *rand.Rand, i int) {
				fmt.Fprintf(w, `{"id":%d,"at":"2026-01-%02dT%02d:00:00Z","user":%d,"path":"/search/%d","ms":%.3f,"tags":["a","b"]}`+"\n", i, i%28+1, i%24, r.IntN(2_000_000), r.IntN(100_000), r.ExpFloat64()*80)
			}},
	} {
		var data strings.Builder
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 500_000 {
			tt.row(&data, r, i)
		}
		bytes := bytesOf(b, tt.format, data.String(), tt.cols, map[string]string{"input_format_csv_empty_as_default": "1"})
		bytes.Judged = false
		for _, in := range []struct {
			name  string
			input transform.Input
		}{
			{"plain", transform.File(bytes.Path, bytes.Format, "", bytes.Structure, bytes.Columns)},
			{"strict", transform.Strict(bytes)},
			{"strict_unscanned", func() transform.Input { u := bytes; u.Unscanned = true; return transform.Strict(u) }()},
		} {
			b.Run(tt.name+"/"+in.name, func(b *testing.B) {
				settings := bytes.StrictSettings()
				maps.Copy(settings, transform.OneBlock())
				b.SetBytes(int64(data.Len()))
				before := process.Usage().CPU
				for b.Loop() {
					_, err := eng.Exec(b.Context(), engine.Statement{
						SQL: transform.Into("/dev/null", transform.Select("SELECT * FROM chunk", in.input, transform.Output{Columns: tt.cols, From: tt.cols})), Settings: settings,
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64((process.Usage().CPU-before).Milliseconds())/float64(b.N), "cpu-ms/op")
			})
		}
	}
}
