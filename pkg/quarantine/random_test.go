package quarantine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/quarantine"
	"drayage/pkg/source/files/borders"
)

func exception(code int) error { return &engine.Exception{Code: code} }

// mutated is clean records with random bytes changed, taken out, doubled or
// put in.
func mutated(r *rand.Rand, clean []byte) []byte {
	b := bytes.Clone(clean)
	const alphabet = "\"',\n\r\t\\{}[]:;0129-.eNa \x00\xff"
	for range 1 + r.IntN(6) {
		if len(b) == 0 {
			break
		}
		i := r.IntN(len(b))
		switch r.IntN(4) {
		case 0:
			b[i] = alphabet[r.IntN(len(alphabet))]
		case 1:
			b = append(b[:i], b[min(len(b), i+1+r.IntN(4)):]...)
		case 2:
			b = append(b[:i], append([]byte{alphabet[r.IntN(len(alphabet))]}, b[i:]...)...)
		default:
			j := min(len(b), i+r.IntN(20))
			b = append(b[:j], append(bytes.Clone(b[i:j]), b[j:]...)...)
		}
	}
	return b
}

// TestRandomInput: whatever the bytes are, every record is either loaded or
// rejected, the engine lives, and the same bytes give the same outcome.
func TestRandomInput(t *testing.T) {
	columns := cols("id", "UInt8", "name", "String", "at", "Nullable(UInt16)", "n", "Nullable(String)")
	clean := map[string]string{
		"CSV": "1,a,2026,1.5\n2,\"b,\"\"c\nd\",,\n3,e,\\N,-1\n4,\"f\",2027,0.25\n",
		"JSONEachRow": `{"id":1,"name":"a","at":2026,"n":"1.5"}` + "\n" + `{"id":2,"name":"b\"}","at":null,"n":null}` + "\n" +
			`{"id":3,"name":"e"}` + "\n" + `{"id":4,"name":"f","at":"2027","n":"x"}` + "\n",
	}
	const inputs = 200
	for format, text := range clean {
		for part := range 4 {
			t.Run(fmt.Sprintf("%s/%d", format, part), func(t *testing.T) {
				t.Parallel()
				for i := range inputs / 4 {
					seed := uint64(part*inputs + i)
					r := rand.New(rand.NewPCG(seed, 7))
					data := mutated(r, []byte(text))
					if i%10 == 0 {
						data = make([]byte, r.IntN(60))
						for j := range data {
							data[j] = byte(r.IntN(256))
						}
					}
					c := chunk{format: format, columns: columns, data: string(data)}
					rows, sep, err := c.load(t)
					if err != nil {
						t.Errorf("seed %d: %q: %v", seed, data, err)
						continue
					}
					if sep != nil && uint64(len(rows)+len(sep.Rejects())) != sep.Records {
						t.Errorf("seed %d: %q: %d rows and %d rejects of %d records", seed, data, len(rows), len(sep.Rejects()), sep.Records)
					}
				}
			})
		}
	}
}

// TestSameAsPlain: over clean rows the strict statement gives the very bytes
// that the engine's own parsers give, also when the rows were separated.
func TestSameAsPlain(t *testing.T) {
	columns := cols("a", "Int64", "b", "Nullable(UInt16)", "s", "String", "t", "DateTime('UTC')", "u", "DateTime64(3, 'UTC')", "d", "Date",
		"n", "Decimal(12, 3)", "f", "Float64", "g", "Float32", "x", "LowCardinality(String)", "e", "Enum8('p' = 1, 'q' = 2)", "l", "Array(Int16)", "z", "Bool", "i", "UUID")
	r := rand.New(rand.NewPCG(3, 9))
	for _, format := range []string{"CSV", "TSV", "JSONEachRow", "JSONCompactEachRow", "TSKV", "JSONStringsEachRow"} {
		t.Run(format, func(t *testing.T) {
			seed := r.Uint32()
			generate := fmt.Sprintf(`SELECT bitXor(cityHash64(number, 1), %d)::Int64 AS a, if(number %% 5 = 0, NULL, number %% 65536)::Nullable(UInt16) AS b,
				concat('s', randomText, '"') AS s, toDateTime(cityHash64(number, 2) %% 4294967296, 'UTC') AS t,
				toDateTime64(toInt64(cityHash64(number, 3) %% 4000000000) + 0.125, 3, 'UTC') AS u, toDate(cityHash64(number, 4) %% 65536) AS d,
				toDecimal64(toInt64(cityHash64(number, 5) %% 1000000000) / 1000, 3)::Decimal(12, 3) AS n, toInt64(cityHash64(number, 6) %% 10000000) / 977 AS f, toFloat32(number / 3) AS g,
				toLowCardinality(toString(number %% 7)) AS x, if(number %% 2 = 0, 'p', 'q')::Enum8('p' = 1, 'q' = 2) AS e, [number %% 100, -1]::Array(Int16) AS l, (number %% 3 = 0)::Bool AS z,
				reinterpretAsUUID(cityHash64(number, 8)) AS i FROM (SELECT number, hex(cityHash64(number, %d)) AS randomText FROM numbers(300))`, seed, seed)
			if strings.HasPrefix(format, "JSON") {
				// A text that is quoted twice would hide what is compared.
				generate = strings.ReplaceAll(generate, `, '"') AS s`, `, 'x') AS s`)
			}
			out, err := eng.Query(context.Background(), engine.Statement{SQL: generate + " FORMAT " + format, Settings: map[string]string{"output_format_json_quote_64bit_integers": "0"}})
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			var data bytes.Buffer
			if _, err := data.ReadFrom(out); err != nil {
				t.Fatal(err)
			}
			c := chunk{format: format, columns: columns, data: data.String()}
			plain, err := c.plain(t)
			if err != nil {
				t.Fatal(err)
			}
			strict, sep, err := c.load(t)
			if err != nil || sep != nil || strings.Join(strict, "\n") != strings.Join(plain, "\n") {
				t.Fatalf("strict differs: %v, %+v\n%s\n%s", err, sep, first(strict), first(plain))
			}
			again, err := quarantine.Separate(t.Context(), c.request(t, c.input(t), errors.New("none")))
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			separated, err := c.compute(again.Input, false)
			if err != nil || len(again.Rejects()) != 0 || strings.Join(separated, "\n") != strings.Join(plain, "\n") {
				t.Fatalf("separated differs: %v, %+v", err, again.Rejects())
			}
		})
	}
}

func first(rows []string) string {
	if len(rows) == 0 {
		return ""
	}
	return rows[0]
}

// FuzzCut: records lie in order within the bytes, and every border that the
// planner cuts at is one between records.
func FuzzCut(f *testing.F) {
	for _, s := range []string{"a,b\n\"c\nd\",e\n", "1,\"a\n2,b\n", "{\"a\":1}\n{\"b\":[{}]}", "[1,2],[3]", "a\\\nb\tc\r\n", "[{\"a\":1},\n{]"} {
		for kind := range 4 {
			f.Add([]byte(s), uint8(kind))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, kind uint8) {
		format := []string{"CSV", "TSV", "JSONEachRow", "JSONCompactEachRow"}[kind%4]
		spans := quarantine.Cut(format, b)
		last := int64(0)
		starts := map[int64]bool{int64(len(b)): true}
		for _, s := range spans {
			if s[0] < last || s[1] < s[0] || s[1] > int64(len(b)) {
				t.Fatalf("%v in %d bytes", spans, len(b))
			}
			last = s[1]
			starts[s[0]] = true
		}
		if format != "CSV" || bytes.ContainsAny(b, "\r") {
			return
		}
		// A planner that finds the quotes whole cuts only between records.
		cutter := borders.NewCSV(borders.CSV{Delimiter: ',', Quote: '"'}, bytes.NewReader(b), int64(len(b)))
		var at borders.Position
		var cuts []int64
		for {
			r, next, err := cutter.Next(t.Context(), at, 1)
			if err != nil {
				break
			}
			cuts = append(cuts, r.End)
			at = next
		}
		if at.Offset < int64(len(b)) || quarantine.Broken(format, b) {
			return
		}
		for _, c := range cuts {
			if !starts[c] {
				t.Fatalf("the planner cuts %q at %d, records begin at %v", b, c, starts)
			}
		}
	})
}

// TestRawIsWhole: a record is given back as it stands.
func TestRawIsWhole(t *testing.T) {
	raw := `{"id": 300,  "name":"x\n"}`
	_, sep, err := chunk{format: "JSONEachRow", columns: cols("id", "UInt8", "name", "String"), data: " " + raw + " , \n"}.load(t)
	if err != nil || len(sep.Rejects()) != 1 || sep.Rejects()[0].Raw != raw || sep.Rejects()[0].Offset != 1 || !json.Valid([]byte(sep.Rejects()[0].Raw)) {
		t.Fatalf("%+v: %v", sep, err)
	}
}
