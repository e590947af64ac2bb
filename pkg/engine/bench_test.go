package engine

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// benchColumns are eight columns as a log or order table has them.
const benchColumns = "id UInt64, ts DateTime, a Int32, f Float64, color String, u String, s String, url String"

const benchSelect = "SELECT toUInt64(number) AS id, toDateTime('2024-01-01 00:00:00') + number %% 1000000 AS ts, toInt32(rand32() %% 1000) AS a, toFloat64(rand32()) / 100 AS f, ['red','green','blue','black'][1 + number %% 4] AS color, concat('user', toString(rand32() %% 100000)) AS u, toString(rand64()) AS s, concat('https://example.com/', toString(number %% 1000)) AS url FROM numbers(%d)"

// loadSettings are what Drayage pins on every load.
var loadSettings = map[string]string{
	"insert_deduplicate": "1", "max_insert_threads": "1", "optimize_on_insert": "0",
	"min_insert_block_size_rows": "0", "min_insert_block_size_bytes": "0",
	"deduplicate_blocks_in_dependent_materialized_views": "1", "session_timezone": "UTC",
}

func benchEngine(b *testing.B) *Process {
	p, err := Start(b.Context(), Config{Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	return p
}

func benchRun(b *testing.B, c *Client, sql string) Summary {
	s, err := c.Exec(b.Context(), Statement{SQL: sql})
	if err != nil {
		b.Fatal(sql, err)
	}
	return s
}

// BenchmarkLoad is the destination's hot path, a block of 64 MB over loopback,
// beside ClickHouse reading the same rows from files by itself.
func BenchmarkLoad(b *testing.B) {
	p := benchEngine(b)
	c := p.Client()
	dir := b.TempDir()
	native, csv := filepath.Join(dir, "x.native"), filepath.Join(dir, "x.csv")
	const rows = 800_000
	benchRun(b, c, fmt.Sprintf("INSERT INTO FUNCTION file('%s', Native) SETTINGS max_threads=1, max_block_size=4000000, min_insert_block_size_rows=100000000 "+benchSelect, native, rows))
	benchRun(b, c, fmt.Sprintf("INSERT INTO FUNCTION file('%s', CSV) SELECT * FROM file('%s', Native)", csv, native))
	data, err := os.ReadFile(native)
	if err != nil {
		b.Fatal(err)
	}
	create := "CREATE OR REPLACE TABLE t (" + benchColumns + ") ENGINE = MergeTree ORDER BY (color, id) SETTINGS non_replicated_deduplication_window = 1000"
	token := 0
	for name, load := range map[string]func() error{
		"http": func() error {
			token++
			settings := map[string]string{"insert_deduplication_token": fmt.Sprint(token)}
			for k, v := range loadSettings {
				settings[k] = v
			}
			_, err := c.Exec(b.Context(), Statement{SQL: "INSERT INTO t FORMAT Native", Settings: settings, Body: bytes.NewReader(data)})
			return err
		},
		"own-native": func() error {
			_, err := c.Exec(b.Context(), Statement{SQL: "INSERT INTO t SELECT * FROM file('" + native + "', Native)", Settings: loadSettings})
			return err
		},
		"own-csv": func() error {
			_, err := c.Exec(b.Context(), Statement{SQL: "INSERT INTO t SELECT * FROM file('" + csv + "', CSV, '" + benchColumns + "')"})
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			benchRun(b, c, create)
			benchRun(b, c, "SYSTEM STOP MERGES t")
			b.SetBytes(int64(len(data)))
			before := p.Usage().CPU
			for b.Loop() {
				if err := load(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((p.Usage().CPU-before)/time.Duration(b.N))/1e6, "engine-cpu-ms/op")
			b.ReportMetric(float64(p.Usage().MaxRSS>>20), "MiB")
		})
	}
}

// BenchmarkStart is what it takes until a new engine answers, and what it
// occupies then.
func BenchmarkStart(b *testing.B) {
	var usage Usage
	for b.Loop() {
		p, err := Start(b.Context(), Config{Log: zerolog.Nop()})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if usage, err = p.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(usage.MaxRSS>>20), "MiB")
}

// BenchmarkRequest is the cost of a request that does next to nothing.
func BenchmarkRequest(b *testing.B) {
	p := benchEngine(b)
	c := p.Client()
	for b.Loop() {
		benchRun(b, c, "SELECT 1")
	}
}

// BenchmarkRead is a large result.
func BenchmarkRead(b *testing.B) {
	c := benchEngine(b).Client()
	for _, format := range []string{"Native", "JSONEachRow", "JSON"} {
		b.Run(format, func(b *testing.B) {
			var n int64
			for b.Loop() {
				body, err := c.Query(b.Context(), Statement{SQL: "SELECT number, toString(number) FROM numbers(5000000) FORMAT " + format})
				if err != nil {
					b.Fatal(err)
				}
				n, err = io.Copy(io.Discard, body)
				if err != nil {
					b.Fatal(err)
				}
				body.Close()
			}
			b.SetBytes(n)
		})
	}
}
