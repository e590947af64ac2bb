package clickhouse_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/ClickHouse/ch-go/proto"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	nativeformat "drayage/pkg/native"
	"drayage/pkg/testkit/nativefront"
)

// Whatever the type: rows that were loaded over the native protocol are those
// that were loaded over HTTP, and are read so too.
func TestNativeLoadsEveryType(t *testing.T) {
	t.Parallel()
	http := openIn(t, shared.URL())
	var ways []*clickhouse.Client // one for each compression
	compressions := []string{clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD}
	for _, compression := range compressions {
		ways = append(ways, open(t, tcp(t, shared.URL()), func(cfg *clickhouse.Config) {
			cfg.Database, cfg.Compression = http.Database(), compression
		}))
	}
	for i, column := range []struct{ typ, value string }{
		{"UInt64", "number"},
		{"Nullable(Decimal(38, 5))", "if(number % 3 = 0, NULL, toDecimal128(number, 5))"},
		{"String", "repeat(toString(number), number % 2000)"},
		{"LowCardinality(Nullable(String))", "if(number % 3 = 0, NULL, toString(number % 9))"},
		{"Array(Array(LowCardinality(String)))", "[arrayMap(x -> toString(x), range(number % 4)), []]"},
		{"Map(String, Array(UInt8))", "map('a', range(number % 3), 'b', [])"},
		{"Tuple(a UInt8, b Nullable(String))", "(number % 200, if(number % 2 = 0, NULL, 'x'))"},
		{"Nested(a UInt64, b LowCardinality(String))", "[(number, toString(number % 3))]"},
		{"DateTime64(6, 'Europe/Berlin')", "toDateTime64(number * 1000, 6, 'Europe/Berlin')"},
		{"Enum8('a' = 1, 'b' = 2)", "number % 2 + 1"},
		{"IPv6", "toIPv6('::1')"}, {"UUID", "generateUUIDv4(number)"}, {"Point", "(number, 1.5)"}, {"BFloat16", "number"},
		{"Variant(Array(UInt8), String, UInt64)", "multiIf(number % 3 = 0, 'x'::Variant(Array(UInt8), String, UInt64), number % 3 = 1, number::Variant(Array(UInt8), String, UInt64), NULL)"},
		{"Dynamic", "multiIf(number % 3 = 0, number::Dynamic, number % 3 = 1, 'x'::Dynamic, [number]::Dynamic)"},
		{"JSON(a UInt32)", "concat('{\"a\":', toString(number), ',\"b\":[1,2],\"c\":{\"d\":\"x\"}}')"},
		{"SimpleAggregateFunction(sum, UInt64)", "number"},
	} {
		compression, tcp := compressions[i%3], ways[i%3]
		// Through the engine's own types, as a chunk's rows come.
		sel := fmt.Sprintf("SELECT number AS k, CAST(%s AS %s) AS v FROM numbers(1000) SETTINGS max_block_size = 100000, flatten_nested = 0", column.value, column.typ)
		body := native(t, http, sel)
		var hashes, streams []string
		for name, c := range map[string]*clickhouse.Client{"http": http, "tcp": tcp} {
			table := clickhouse.Table{Database: c.Database(), Name: fmt.Sprint(name, i)}
			exec1(t, c, "CREATE TABLE "+table.SQL()+" (k UInt64, v "+column.typ+") ENGINE = MergeTree ORDER BY k SETTINGS flatten_nested = 0, non_replicated_deduplication_window = 100")
			for range 2 {
				mustLoad(t, c, clickhouse.Load{Table: table, Columns: []string{"k", "v"}, Body: bytes.NewReader(body), Length: int64(len(body)), Rows: 1000, Token: "a"})
			}
			hashes = append(hashes, query(t, http, "SELECT count(), sum(sipHash64(k, toString(v))) FROM "+table.SQL()))
			streams = append(streams, string(native(t, c, "SELECT v FROM "+table.SQL()+" ORDER BY k SETTINGS max_block_size = 300, max_threads = 1")))
		}
		if hashes[0] != hashes[1] || !strings.HasPrefix(hashes[0], "1000\t") {
			t.Errorf("%s with %s: %v", column.typ, compression, hashes)
		}
		if streams[0] != streams[1] || streams[0] == "" {
			t.Errorf("%s with %s: what is read differs: %d and %d bytes", column.typ, compression, len(streams[0]), len(streams[1]))
		}
	}
}

func TestNativeLoadOfStates(t *testing.T) {
	t.Parallel()
	c := open(t, tcp(t, shared.URL()))
	table := clickhouse.Table{Database: c.Database(), Name: "t"}
	if err := c.Create(t.Context(), clickhouse.CreateSpec{Table: table, Columns: []job.Column{{Name: "k", Type: "UInt64"}, {Name: "s", Type: "AggregateFunction(sum, UInt64)"}}, Engine: "ENGINE = AggregatingMergeTree ORDER BY k"}); err != nil {
		t.Fatal(err)
	}
	body := native(t, open(t, shared.URL(), func(cfg *clickhouse.Config) { cfg.Database = "default" }), "SELECT number AS k, sumState(number + 1) AS s FROM numbers(3) GROUP BY k ORDER BY k")
	l := clickhouse.Load{Table: table, Columns: []string{"k", "s"}, Body: bytes.NewReader(body), Length: int64(len(body)), Token: "a"}
	// Nobody can say whether there is a second block behind the states.
	err := c.Load(t.Context(), l)
	wantClass(t, err, job.Permanent)
	if !errors.Is(err, nativeformat.ErrOpaque) || !strings.Contains(err.Error(), "http://") {
		t.Errorf("got %v", err)
	}
	wantRows(t, c, table, 0)
	l.Body, l.Rows = bytes.NewReader(body), 3
	mustLoad(t, c, l)
	if got := query(t, c, "SELECT sumMerge(s) FROM t"); got != "6" {
		t.Errorf("got %s", got)
	}
	err = c.Query(t.Context(), "SELECT s FROM t", "Native", new(bytes.Buffer))
	wantClass(t, err, job.Permanent)
	if !strings.Contains(err.Error(), "http://") {
		t.Errorf("got %v", err)
	}
}

func TestNativeFormats(t *testing.T) {
	t.Parallel()
	http := openIn(t, shared.URL())
	tcp := open(t, tcp(t, shared.URL()), func(cfg *clickhouse.Config) { cfg.Database = http.Database() })
	const sel = "SELECT number AS n, 'it\\'s \"x\"\t,' AS `a \\` b`, if(n % 2 = 0, NULL, n) AS l, [n] AS r, toDateTime64(n, 3, 'UTC') AS d, 18446744073709551615 AS big FROM numbers(3000) SETTINGS max_block_size = 700, max_threads = 1"
	for _, format := range []string{
		"TabSeparated", "TSVWithNames", "TabSeparatedWithNamesAndTypes", "TSVRaw", "CSV", "CSVWithNames", "CSVWithNamesAndTypes", "CustomSeparatedWithNames",
		"JSONEachRow", "JSONLines", "JSONCompactEachRow", "JSONCompactEachRowWithNamesAndTypes", "JSONStringsEachRow", "TSKV", "RowBinary", "MsgPack", "PrettyJSONEachRow", "Native", "Null", "",
	} {
		var want, got bytes.Buffer
		if err := http.Query(t.Context(), sel, format, &want); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if err := tcp.Query(t.Context(), sel, format, &got); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if !bytes.Equal(want.Bytes(), got.Bytes()) {
			t.Errorf("%s: %d bytes over TCP, %d over HTTP", format, got.Len(), want.Len())
		}
	}
	for _, sql := range []string{
		"SHOW DATABASES LIKE 'system'", "DESCRIBE TABLE (SELECT 1 AS x)", "EXPLAIN SYNTAX SELECT 1", "EXISTS TABLE nope",
		"SELECT 1 AS x FORMAT CSVWithNames SETTINGS format_csv_delimiter = ';'",
		"SELECT toUInt64(1) AS x, now64(3, 'UTC') > 0 AS y SETTINGS output_format_json_quote_64bit_integers = 1 FORMAT JSONEachRow",
		"SELECT concat('raw', char(0)) FORMAT RawBLOB", "CREATE TABLE made (x UInt8) ENGINE = Memory",
	} {
		want, got := "", query(t, tcp, sql)
		if !strings.HasPrefix(sql, "CREATE") {
			want = query(t, http, sql)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", sql, got, want)
		}
	}
	// The document is the same but for what was measured.
	var docs [2]map[string]any
	for i, c := range []*clickhouse.Client{http, tcp} {
		if err := json.Unmarshal([]byte(query(t, c, strings.Replace(sel, "3000", "10", 1)+" FORMAT JSON")), &docs[i]); err != nil {
			t.Fatal(err)
		}
		delete(docs[i], "statistics")
	}
	if !reflect.DeepEqual(docs[0], docs[1]) {
		t.Errorf("got %v, want %v", docs[1], docs[0])
	}
	err := tcp.Query(t.Context(), "SELECT 1", "PrettyCompact", new(bytes.Buffer))
	wantClass(t, err, job.Permanent)
	if !strings.Contains(err.Error(), "http://") || tcp.Writes("PrettyCompact") || !tcp.Writes("CSVWithNames") || !http.Writes("PrettyCompact") {
		t.Errorf("got %v", err)
	}
}

func TestNativeWithTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.StartTLS()
	defer server.Close()
	front, err := nativefront.Start(shared.URL(), nativefront.Options{TLS: &tls.Config{Certificates: server.TLS.Certificates}})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, front.URL(), func(cfg *clickhouse.Config) { cfg.CAFile = ca })
	table := target(t, c, "t")
	mustLoad(t, c, load(table, block(t, c, 0, 0, 100000), "a"))
	wantRows(t, c, table, 100000)
	ctx, cancel := context.WithCancel(t.Context())
	err = c.Query(ctx, "SELECT number FROM system.numbers", "Native", writer(func(p []byte) (int, error) { cancel(); return len(p), nil }))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}

	_, err = clickhouse.Open(t.Context(), clickhouse.Config{URL: front.URL()})
	wantClass(t, err, job.Permanent) // nobody vouches for it
	plain := strings.Replace(front.URL(), "clickhouses:", "clickhouse:", 1)
	_, err = clickhouse.Open(t.Context(), clickhouse.Config{URL: plain})
	wantClass(t, err, job.Permanent, job.SlowDown)
	secure := strings.Replace(tcp(t, shared.URL()), "clickhouse:", "clickhouses:", 1)
	_, err = clickhouse.Open(t.Context(), clickhouse.Config{URL: secure})
	wantClass(t, err, job.Permanent, job.SlowDown)
}

// answering is a server that gives every client the same answer.
func answering(t *testing.T, answer []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write(answer)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return (&url.URL{Scheme: "clickhouse", User: url.UserPassword("tester", password), Host: l.Addr().String()}).String()
}

func TestNativeOpenOfSomethingElse(t *testing.T) {
	t.Parallel()
	var old, cut proto.Buffer
	(&proto.ServerHello{Name: "ClickHouse", Major: 18, Minor: 16, Revision: 54407, Timezone: "UTC"}).EncodeAware(&old, 54450)
	(&proto.ServerHello{Name: "ClickHouse", Major: 24, Minor: 8, Revision: 54468, Timezone: "UTC"}).EncodeAware(&cut, 54450)
	for name, tc := range map[string]struct {
		answer []byte
		is     error
		class  job.Class
		text   string
	}{
		"HTTP":            {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), nil, job.Permanent, "9000"},
		"an old server":   {old.Buf, clickhouse.ErrVersion, job.Permanent, "54407"},
		"nothing":         {nil, clickhouse.ErrUnavailable, job.SlowDown, "clickhouse://"},
		"half a greeting": {cut.Buf[:10], clickhouse.ErrUnavailable, job.SlowDown, "clickhouse://"},
	} {
		_, err := clickhouse.Open(t.Context(), clickhouse.Config{URL: answering(t, tc.answer)})
		wantClass(t, err, tc.class)
		if tc.is != nil && !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A session is not shared: what a statement changes in it, the next does not
// see.
func TestNativeSessionsAreNotShared(t *testing.T) {
	t.Parallel()
	c := open(t, tcp(t, shared.URL()), func(cfg *clickhouse.Config) { cfg.Database = "default"; cfg.MaxConns = 1 })
	exec1(t, c, "USE system")
	if got := query(t, c, "SELECT currentDatabase()"); got != "default" {
		t.Errorf("got %s", got)
	}
}

// The front is what a server is to the driver that most programs use.
func TestNativeFrontServesOtherClients(t *testing.T) {
	t.Parallel()
	front, err := nativefront.Start(shared.URL(), nativefront.Options{Revision: 54450})
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	u, err := url.Parse(front.URL())
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []ch.CompressionMethod{ch.CompressionNone, ch.CompressionLZ4} {
		conn, err := ch.Open(&ch.Options{Addr: []string{u.Host}, Auth: ch.Auth{Database: "default", Username: "tester", Password: password}, Compression: &ch.Compression{Method: method}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := conn.Exec(t.Context(), "CREATE OR REPLACE TABLE front_test (x UInt64, s LowCardinality(String)) ENGINE = MergeTree ORDER BY x"); err != nil {
			t.Fatal(err)
		}
		batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO `front_test` (`x`, `s`)")
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(1000) {
			if err := batch.Append(i, fmt.Sprint(i%7)); err != nil {
				t.Fatal(err)
			}
		}
		if err := batch.Send(); err != nil {
			t.Fatal(err)
		}
		var n, sum uint64
		var s []string
		if err := conn.QueryRow(t.Context(), "SELECT count(), sum(x), groupUniqArray(s) FROM front_test").Scan(&n, &sum, &s); err != nil || n != 1000 || sum != 499500 || len(s) != 7 {
			t.Errorf("%d rows, sum %d, %v, %v", n, sum, s, err)
		}
		var x *ch.Exception
		if err := conn.Exec(t.Context(), "SELECT nope"); !errors.As(err, &x) || x.Code != 47 {
			t.Errorf("got %v", err)
		}
	}
}
