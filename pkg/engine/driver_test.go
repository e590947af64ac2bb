package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
)

// driverOptions are how clickhouse-go reaches an engine.
func driverOptions(t *testing.T, p *Process, database string) *clickhouse.Options {
	t.Helper()
	u, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	return &clickhouse.Options{
		Protocol: clickhouse.HTTP, Addr: []string{u.Host},
		Auth: clickhouse.Auth{Database: database, Username: u.User.Username(), Password: password},
	}
}

// TestDriver is clickhouse-go, unchanged, with each of its compressions.
func TestDriver(t *testing.T) {
	for _, method := range []clickhouse.CompressionMethod{
		clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD,
		clickhouse.CompressionGZIP, clickhouse.CompressionDeflate, clickhouse.CompressionBrotli,
	} {
		t.Run(method.String(), func(t *testing.T) {
			p, db := use(t)
			options := driverOptions(t, p, db)
			options.Compression = &clickhouse.Compression{Method: method, Level: 3}
			conn, err := clickhouse.Open(options)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			testDriver(t, conn)
		})
	}
}

func testDriver(t *testing.T, conn clickhouse.Conn) {
	ctx := t.Context()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must("ping", conn.Ping(ctx))
	version, err := conn.ServerVersion()
	must("version", err)
	if version.Version.Major < 26 {
		t.Errorf("version %v", version)
	}
	must("create", conn.Exec(ctx, "CREATE TABLE t (a Int64, b String, c Nullable(Float64), d DateTime64(3), e LowCardinality(String), f Array(UInt8), g Map(String, Int32)) ENGINE = MergeTree ORDER BY a"))

	const rows = 10_000
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO t")
	must("prepare", err)
	for i := range int64(rows) {
		must("append", batch.Append(i, fmt.Sprint("b", i), new(float64), time.UnixMilli(i), "low", []uint8{1, 2}, map[string]int32{"k": int32(i)}))
	}
	must("send", batch.Send())

	batch, err = conn.PrepareBatch(ctx, "INSERT INTO t (a, b)")
	must("prepare columns", err)
	must("column", batch.Column(0).Append([]int64{-1, -2}))
	must("column", batch.Column(1).Append([]string{"x", "y"}))
	must("send columns", batch.Send())

	var n uint64
	var sum int64
	must("row", conn.QueryRow(ctx, "SELECT count(), sum(a) FROM t WHERE a >= @low", clickhouse.Named("low", -2)).Scan(&n, &sum))
	if n != rows+2 || sum != rows*(rows-1)/2-3 {
		t.Errorf("%d rows, sum %d", n, sum)
	}
	var bound string
	must("parameter", conn.QueryRow(clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"s": "it's"})), "SELECT {s:String}").Scan(&bound))
	if bound != "it's" {
		t.Errorf("parameter %q", bound)
	}

	result, err := conn.Query(ctx, "SELECT a, b, g FROM t ORDER BY a")
	must("query", err)
	seen := 0
	for result.Next() {
		var a int64
		var b string
		var g map[string]int32
		must("scan", result.Scan(&a, &b, &g))
		seen++
	}
	must("rows", result.Err())
	if seen != rows+2 {
		t.Errorf("read %d rows", seen)
	}

	//nolint:staticcheck // deprecated, and used by programs all the same
	must("async", conn.AsyncInsert(ctx, "INSERT INTO t (a, b) VALUES (-3, 'async')", true))
	must("insert format", conn.InsertFormat(ctx, "CSV", "INSERT INTO t (a, b)", strings.NewReader("-4,f\n-5,g\n")))
	if err := conn.InsertFormat(ctx, "CSV", "INSERT INTO t (a, b)", io.MultiReader(strings.NewReader("-6,f\n"), failing{})); !errors.Is(err, errReader) {
		t.Errorf("a failing reader: %v", err)
	}
	stream, err := conn.QueryFormat(ctx, "JSONEachRow", "SELECT a, b FROM t WHERE a < -2 ORDER BY a")
	must("query format", err)
	out, err := io.ReadAll(stream)
	must("read format", err)
	must("close format", stream.Close())
	if want := "{\"a\":-5,\"b\":\"g\"}\n{\"a\":-4,\"b\":\"f\"}\n{\"a\":-3,\"b\":\"async\"}\n"; string(out) != want {
		t.Errorf("query format: %q", out)
	}

	external, err := ext.NewTable("wanted", ext.Column("id", "Int64"))
	must("external table", err)
	must("external row", external.Append(int64(5)))
	must("external query", conn.QueryRow(clickhouse.Context(ctx, clickhouse.WithExternalTable(external)), "SELECT count() FROM t WHERE a IN (SELECT id FROM wanted)").Scan(&n))
	if n != 1 {
		t.Errorf("external table: %d", n)
	}

	var e *clickhouse.Exception
	if err := conn.Exec(ctx, "SELECT * FROM nowhere"); !errors.As(err, &e) || e.Code != 60 || e.CodeName != "UNKNOWN_TABLE" {
		t.Errorf("typed error: %v", err)
	}
	// A failure after the reply began.
	result, err = conn.Query(ctx, "SELECT throwIf(number = 300000), repeat('x', 10) FROM numbers(400000) SETTINGS max_block_size = 10000, max_threads = 1")
	must("query that fails late", err)
	for result.Next() {
	}
	if err := result.Err(); !errors.As(err, &e) || e.Code != 395 {
		t.Errorf("a failure in the middle: %v", err)
	}
	stream, err = conn.QueryFormat(ctx, "CSV", "SELECT throwIf(number = 300000), repeat('x', 10) FROM numbers(400000) SETTINGS max_block_size = 10000, max_threads = 1")
	must("query format that fails late", err)
	_, err = io.Copy(io.Discard, stream)
	if !errors.As(err, &e) || e.Code != 395 {
		t.Errorf("a failure in the middle of a format: %v", err)
	}
	stream.Close()

	timed, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	started := time.Now()
	if err := conn.Exec(timed, "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("a cancelled query took %v", took)
	}
}

func TestDriverForDatabaseSQL(t *testing.T) {
	p, db := use(t)
	conn := clickhouse.OpenDB(driverOptions(t, p, db))
	defer conn.Close()
	if err := conn.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "CREATE TABLE t (a Int32, b String) ENGINE = MergeTree ORDER BY a"); err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin()
	if err != nil {
		t.Fatal(err)
	}
	insert, err := tx.PrepareContext(t.Context(), "INSERT INTO t (a, b)")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := insert.Exec(int32(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := conn.QueryRowContext(t.Context(), "SELECT count() FROM t WHERE a > ?", 3).Scan(&n); err != nil || n != 6 {
		t.Errorf("count %d, %v", n, err)
	}
}

var errReader = errors.New("the reader failed")

// failing is a reader that fails.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errReader }
