package native_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"drayage/pkg/engine"
	"drayage/pkg/native"
	"drayage/pkg/testkit"
)

var client *engine.Client

func TestMain(m *testing.M) {
	testkit.Engine()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	p, err := engine.Start(context.Background(), engine.Config{Log: zerolog.New(os.Stderr).Level(zerolog.WarnLevel)})
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the engine:", err)
		return 1
	}
	defer p.Close()
	if client, err = engine.NewClient(p.URL()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// blocks is the result of a query in Native.
func blocks(t *testing.T, query string) []byte {
	t.Helper()
	out, err := client.Query(t.Context(), engine.Statement{SQL: query + " FORMAT Native"})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer out.Close()
	all, err := io.ReadAll(out)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return all
}

// copyAll copies block by block, through a buffer of a size.
func copyAll(from []byte, buffer int) (all []byte, rows uint64, n int, err error) {
	r := bufio.NewReaderSize(bytes.NewReader(from), buffer)
	var out bytes.Buffer
	for {
		b, err := native.Copy(&out, r)
		if err == io.EOF { //nolint:errorlint // its contract
			return out.Bytes(), rows, n, nil
		}
		if err != nil {
			return out.Bytes(), rows, n, err
		}
		rows += b.Rows
		n++
	}
}

func TestCopyOfEveryType(t *testing.T) {
	t.Parallel()
	const rows = 257 // in three blocks
	for _, column := range []string{
		"toUInt8(n)", "toInt16(n)", "toUInt32(n)", "toInt64(n)", "toUInt128(n)", "toInt256(n)", "toFloat32(n)", "toFloat64(n)", "toBFloat16(n)",
		"n % 2 = 0", "toDate(n)", "toDate32(n)", "toDateTime(n)", "toDateTime(n, 'Europe/Berlin')", "toDateTime64(n, 3, 'UTC')", "toIntervalDay(n)",
		"toTime(n)", "toTime64(n, 3)",
		"toDecimal32(n, 2)", "toDecimal64(n, 3)", "toDecimal128(n, 4)", "toDecimal256(n, 5)",
		"toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')", "toIPv4('1.2.3.4')", "toIPv6('::1')",
		"CAST('a' AS Enum8('a' = 1, 'b, (' = 2))", "CAST('it\\'s' AS Enum16('it\\'s' = 1000))",
		"toFixedString(toString(n % 10), 3)", "''", "repeat('x', n * 7 % 5000)", "randomString(n % 300)",
		"NULL", "toNullable(n)", "if(n % 3 = 0, NULL, toString(n))", "if(n % 3 = 0, NULL, toDate(n))",
		"toLowCardinality(toString(n % 7))", "toLowCardinality(toString(n))", "toLowCardinality(if(n % 3 = 0, NULL, toString(n % 5)))", "CAST(n % 3 AS LowCardinality(UInt16))",
		"[]", "range(n % 4)", "emptyArrayString()", "arrayMap(x -> toString(x), range(n % 5))", "[[n], range(n % 3), []]", "arrayMap(x -> toLowCardinality(toString(x)), range(n % 5))",
		"arrayMap(x -> if(x = 1, NULL, x), range(n % 4))", "if(n < 200, emptyArrayString()::Array(LowCardinality(String)), ['x'])",
		"tuple()", "(n, toString(n), [n])", "CAST((n, 's') AS Tuple(a UInt32, `b c, (` LowCardinality(String)))", "CAST([(n, 'x')] AS Nested(a UInt64, b String))",
		"map('a', n)", "map()", "CAST(map('k', ['v', toString(n)]) AS Map(LowCardinality(String), Array(LowCardinality(Nullable(String)))))",
		"CAST(number AS SimpleAggregateFunction(sum, UInt64))", "CAST('s' AS SimpleAggregateFunction(anyLast, LowCardinality(String)))",
		"CAST((1.0, 2.0) AS Point)", "CAST([(1.0, 2.0)] AS Ring)", "CAST([[(1.0, 2.0), (n, 3.0)]] AS Polygon)", "CAST([[[(1.0, 2.0)]]] AS MultiPolygon)", "CAST([(1.0, 2.0)] AS LineString)",
		"multiIf(n % 3 = 0, n::Variant(String, UInt64, Array(LowCardinality(String))), n % 3 = 1, 'x'::Variant(String, UInt64, Array(LowCardinality(String))), NULL)",
		"CAST(n AS Dynamic)", "multiIf(n % 4 = 0, n::Dynamic, n % 4 = 1, toString(n)::Dynamic, n % 4 = 2, [n]::Dynamic, NULL)", "n::Dynamic(max_types = 0)",
		"if(n % 2 = 0, toLowCardinality('x')::Dynamic, toDate(n)::Dynamic)",
		"concat('{\"a\":', toString(n), ',\"b\":{\"c\":\"x\"},\"d\":[1,2]}')::JSON", "if(n % 2 = 0, '{}', concat('{\"x', toString(n), '\":1}'))::JSON(max_dynamic_paths = 3)",
		"concat('{\"z\":\"q\",\"a.b\":', toString(n), '}')::JSON(a.b UInt32, z LowCardinality(String), SKIP q)", "['{\"a\":1}'::JSON]",
	} {
		for _, setting := range []string{"", ", output_format_native_write_json_as_string = 1"} {
			if setting != "" && !strings.Contains(column, "JSON") {
				continue
			}
			query := fmt.Sprintf("SELECT number AS n, %s AS v, toString(n) AS last FROM numbers(%d) SETTINGS max_block_size = 100, enable_time_time64_type = 1, allow_suspicious_low_cardinality_types = 1, allow_suspicious_variant_types = 1%s", column, rows, setting)
			want := blocks(t, query)
			for _, buffer := range []int{16, 4096, 1 << 20} {
				got, n, count, err := copyAll(want, buffer)
				if err != nil {
					t.Errorf("%s: %v", column, err)
					break
				}
				if !bytes.Equal(got, want) || n != rows || count != 3 {
					t.Errorf("%s: %d bytes of %d, %d rows in %d blocks", column, len(got), len(want), n, count)
				}
			}
			// A block that is cut anywhere is no block.
			one := blocks(t, strings.Replace(query, "numbers(257)", "numbers(5)", 1))
			for cut := 1; cut < len(one); cut++ {
				if _, _, _, err := copyAll(one[:cut], 4096); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%s, %d bytes of %d: %v", column, cut, len(one), err)
					break
				}
			}
		}
	}
}

func TestCopyOfAState(t *testing.T) {
	t.Parallel()
	body := blocks(t, "SELECT number AS n, sumState(number) AS s FROM numbers(3) GROUP BY n ORDER BY n")
	var out bytes.Buffer
	r := bufio.NewReader(bytes.NewReader(body))
	b, err := native.Copy(&out, r)
	var col *native.ColumnError
	if !errors.Is(err, native.ErrOpaque) || !errors.As(err, &col) || col.Name != "s" || col.Type != "AggregateFunction(sum, UInt64)" || b.Rows != 3 {
		t.Fatalf("got %v, %+v", err, b)
	}
	rest, err := io.ReadAll(r)
	if err != nil || len(rest) != 24 || !bytes.Equal(append(out.Bytes(), rest...), body) {
		t.Errorf("%d bytes are left, %v", len(rest), err)
	}
	// Without rows there is nothing that could not be told.
	empty := []byte("\x01\x00\x01s\x1eAggregateFunction(sum, UInt64)")
	if got, _, n, err := copyAll(empty, 16); err != nil || n != 1 || !bytes.Equal(got, empty) {
		t.Errorf("got %q, %d blocks, %v", got, n, err)
	}
}

func TestCopyOfJunk(t *testing.T) {
	t.Parallel()
	for name, junk := range map[string]string{
		"bytes":                    strings.Repeat("\xff", 100),
		"too many columns":         "\xff\xff\xff\xff\x0f\x01",
		"a name without an end":    "\x01\x01\xff\xff\xff\xff\x0f",
		"a type without an end":    "\x01\x01\x01x\x06Array(",
		"a list of two":            "\x01\x01\x01x\x0cArray(A, BBB)"[:16],
		"a string of no size":      "\x01\x01\x01x\x0eFixedString(a)",
		"a type within a thousand": "\x01\x01\x01x\xd8\x36" + strings.Repeat("Array(", 1000) + strings.Repeat(")", 1000),
		"an index without keys":    "\x01\x01\x01x\x16LowCardinality(String)\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		_, _, _, err := copyAll([]byte(junk), 16)
		if !errors.Is(err, native.ErrMalformed) && !errors.Is(err, native.ErrOpaque) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
