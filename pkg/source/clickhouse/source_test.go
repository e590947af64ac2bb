package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
	"drayage/pkg/testkit"
	"drayage/pkg/testkit/nativefront"
)

// server is the ClickHouse of the tests; front gives it the native protocol.
var (
	server *engine.Process
	front  *nativefront.Front
)

func TestMain(m *testing.M) {
	testkit.Engine()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "dray-clickhouse-source-")
	if err == nil {
		defer os.RemoveAll(dir)
		server, err = engine.Start(context.Background(), engine.Config{Name: "clickhouse-source-test", Path: filepath.Join(dir, "data")})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if front, err = nativefront.Start(server.URL(), nativefront.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	_ = front.Close()
	if _, err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := server.Client().Exec(t.Context(), engine.Statement{SQL: sql}); err != nil {
		t.Fatal(err)
	}
}

// ask returns one value as text.
func ask(t *testing.T, sql string) string {
	t.Helper()
	var rows []struct{ V string }
	if err := server.Client().Rows(t.Context(), engine.Statement{SQL: "SELECT toString((" + sql + ")) AS V"}, &rows); err != nil || len(rows) != 1 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	return rows[0].V
}

type chunk struct {
	planned source.Planned
	bytes   []byte
}

// read plans and opens everything.
func read(t *testing.T, s *Source, from json.RawMessage) []chunk {
	t.Helper()
	columns, err := s.Columns(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []chunk
	for p, err := range s.Plan(t.Context(), from, columns) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, chunk{p, open(t, s, p.Input, columns)})
	}
	return all
}

func open(t *testing.T, s *Source, input json.RawMessage, columns []job.Column) []byte {
	t.Helper()
	in, err := s.Open(t.Context(), input, columns)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(in.Reader)
	if err := errors.Join(err, in.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

// All rows of a table come in one chunk each, whatever its key is like, and the
// chunks are about even.
func TestTables(t *testing.T) {
	for name, tt := range map[string]struct {
		key, values string
		least       int    // chunks
		most        uint64 // rows of a chunk
	}{
		"skewed":     {"id", "if(number < 90000, number, number * 1000000) AS id, toString(number) AS v", 8, 20_000},
		"negative":   {"id", "toInt64(number) - 50000 AS id, number AS v", 8, 20_000},
		"text":       {"k", "concat('it''s \\\\ ', toString(cityHash64(number))) AS k, number AS v", 8, 20_000},
		"composite":  {"city, at", "toLowCardinality(['a', 'b', 'c'][number % 3 + 1]) AS city, toDateTime64('2026-01-01 00:00:00', 3, 'Europe/Berlin') + number * 100 AS at", 8, 20_000},
		"expression": {"toDate(at), n", "toDateTime('2026-01-01 00:00:00', 'UTC') + number * 7 AS at, number AS n", 4, 40_000},
		"uuids":      {"u", "toUUID(UUIDNumToString(toFixedString(unhex(leftPad(hex(cityHash64(number)), 32, '0')), 16))) AS u, number AS v", 8, 20_000},
		"one value":  {"k", "1 AS k, number AS v", 1, 100_000},
		"with NULL":  {"k", "nullIf(number % 10, 3) AS k, number AS v", 1, 100_000},
		"with NaN":   {"k", "if(number % 10 = 3, nan, toFloat64(number)) AS k, number AS v", 1, 100_000},
		"no key":     {"tuple()", "number AS v, 'x' AS w", 1, 100_000},
		"odd names":  {"`a b`", "number AS `a b`, 1 AS `c``d`", 8, 20_000},
	} {
		t.Run(name, func(t *testing.T) {
			table := "t_" + strings.ReplaceAll(name, " ", "_")
			exec(t, "CREATE TABLE "+table+" ENGINE = MergeTree ORDER BY ("+tt.key+") SETTINGS index_granularity = 1024, allow_nullable_key = 1 AS SELECT "+tt.values+" FROM numbers(60000)")
			exec(t, "INSERT INTO "+table+" SELECT "+tt.values+" FROM numbers(60000, 40000)")
			url := server.URL()
			switch name {
			case "composite", "odd names", "with NULL":
				url = front.URL()
			}
			s, err := New(Config{URL: url, Table: table, ChunkRows: 10_000})
			if err != nil {
				t.Fatal(err)
			}
			all := read(t, s, nil)
			if len(all) < tt.least {
				t.Errorf("the table has %d chunks, not %d", len(all), tt.least)
			}
			exec(t, "CREATE TABLE back_"+table+" AS "+table+" ENGINE = Log")
			var before uint64
			for i, c := range all {
				file := filepath.Join(t.TempDir(), fmt.Sprint(i))
				if err := os.WriteFile(file, c.bytes, 0o600); err != nil {
					t.Fatal(err)
				}
				if len(c.bytes) > 0 {
					exec(t, "INSERT INTO back_"+table+" SELECT * FROM file('"+file+"', Native)")
				}
				var now uint64
				_, _ = fmt.Sscan(ask(t, "SELECT count() FROM back_"+table), &now)
				if now-before > tt.most {
					t.Errorf("chunk %d has %d rows", i, now-before)
				}
				before = now
			}
			sum := "SELECT (count(), sum(cityHash64(*))) FROM "
			if got, want := ask(t, sum+"back_"+table), ask(t, sum+table); got != want {
				t.Errorf("what was read has %s, the table %s", got, want)
			}
			again := read(t, s, all[0].planned.Cursor)
			if len(again) != len(all)-1 {
				t.Fatalf("after the first cursor come %d chunks of %d", len(again), len(all))
			}
			for i, c := range again {
				if string(c.planned.Input) != string(all[i+1].planned.Input) {
					t.Errorf("chunk %d is another after a cursor: %s, %s", i+1, c.planned.Input, all[i+1].planned.Input)
				}
			}
		})
	}
}

func TestQueryAndWhere(t *testing.T) {
	exec(t, "CREATE TABLE some ENGINE = MergeTree ORDER BY id AS SELECT number AS id FROM numbers(1000)")
	for name, cfg := range map[string]Config{
		"query":     {Query: "SELECT id FROM some WHERE id < 10 -- ten"},
		"where":     {Table: "default.some", Where: "id < 10 -- ten"},
		"converted": {Table: "some", Where: "id < 10", Columns: []job.Column{{Name: "id", Type: "UInt64"}}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.URL = front.URL()
			s, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			all := read(t, s, nil)
			exec(t, "CREATE TABLE ten_"+name+" (id UInt64) ENGINE = Log")
			file := filepath.Join(t.TempDir(), "x")
			if err := os.WriteFile(file, all[0].bytes, 0o600); err != nil || len(all) != 1 {
				t.Fatalf("%d chunks: %v", len(all), err)
			}
			exec(t, "INSERT INTO ten_"+name+" SELECT * FROM file('"+file+"', Native)")
			if got := ask(t, "SELECT (count(), sum(id)) FROM ten_"+name); got != "(10,45)" {
				t.Errorf("the rows are %s", got)
			}
		})
	}
}

// A failure is known for what it is, and an input that broke off does not look
// like the end of it.
func TestTrouble(t *testing.T) {
	exec(t, "CREATE TABLE bad ENGINE = MergeTree ORDER BY id AS SELECT number AS id FROM numbers(100000)")
	for name, tt := range map[string]struct {
		cfg   Config
		class job.Class
	}{
		"no server":                         {Config{URL: "http://127.0.0.1:1", Table: "bad"}, job.SlowDown},
		"none over the native protocol":     {Config{URL: "clickhouse://127.0.0.1:1", Table: "bad"}, job.SlowDown},
		"no table over the native protocol": {Config{URL: front.URL(), Table: "nowhere"}, job.Permanent},
		"no table":                          {Config{URL: server.URL(), Table: "nowhere"}, job.Permanent},
		"no column":                         {Config{URL: server.URL(), Table: "bad", Columns: []job.Column{{Name: "x", Type: "UInt8"}}}, job.Permanent},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Columns(t.Context(), nil); err == nil || job.ClassOf(err) != tt.class {
				t.Errorf("the error is %v, %s", err, job.ClassOf(err))
			}
		})
	}
	s, err := New(Config{URL: server.URL(), Query: "SELECT throwIf(number = 900000) AS a FROM numbers(1000000) SETTINGS max_block_size = 1000"})
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Open(t.Context(), json.RawMessage("{}"), []job.Column{{Name: "a", Type: "UInt8"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, in.Reader)
	if err == nil || job.ClassOf(err) != job.Permanent {
		t.Errorf("the input ends with %v", err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if in, err = s.Open(ctx, json.RawMessage("{}"), []job.Column{{Name: "a", Type: "UInt8"}}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, in.Reader); err == nil {
		t.Error("what was cancelled ends well")
	}
	_ = in.Close()
}

func TestMistakes(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg   Config
		field string
	}{
		"no URL":         {Config{Table: "t"}, "url"},
		"nothing":        {Config{URL: "http://h"}, "table"},
		"both":           {Config{URL: "http://h", Table: "t", Query: "SELECT 1"}, "query"},
		"query of where": {Config{URL: "http://h", Query: "SELECT 1", Where: "1"}, "where"},
		"no table name":  {Config{URL: "http://h", Table: "a.b.c"}, "table"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(tt.cfg)
			sourcetest.WantMistake(t, err, tt.field, "")
		})
	}
}
