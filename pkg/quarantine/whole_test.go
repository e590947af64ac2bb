package quarantine_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/quarantine"
	"drayage/pkg/source"
)

func gzipped(t *testing.T, data string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data.gz")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestCompressed: a whole file that only the engine reads is separated too; its
// records have no place in it.
func TestCompressed(t *testing.T) {
	c := chunk{format: "CSVWithNames", columns: cols("id", "UInt8", "name", "String"), settings: map[string]string{
		"input_format_csv_skip_first_lines": "1", "input_format_with_names_use_header": "0",
	}}
	in := c.input(t)
	in.File, in.Compression = gzipped(t, "a note\nid,name\n1,a\n\"2\",\"b\r\nc\"\n300,d\n"), "gzip"
	_, err := c.compute(in, true)
	if !quarantine.Suspicious(err) {
		t.Fatalf("got %v", err)
	}
	req := c.request(t, in, err)
	sep, err := quarantine.Separate(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	defer sep.Close()
	rows, err := c.compute(sep.Input, false)
	if err != nil || strings.Join(rows, " ") != `[1, "a"] [2, "b\r\nc"]` {
		t.Errorf("rows are %s: %v", rows, err)
	}
	if len(sep.Rejects()) != 1 || sep.Rejects()[0].Record != 3 || sep.Rejects()[0].Offset != -1 || sep.Rejects()[0].Raw != "300,d" || sep.Records != 3 {
		t.Errorf("%+v", sep)
	}
	if left, err := os.ReadDir(req.Dir); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

// TestSwallowed: a quote that is never closed does not take records along, and
// texts that only look like it are loaded.
func TestSwallowed(t *testing.T) {
	two := cols("id", "UInt8", "name", "String")
	rows, sep, err := chunk{format: "CSV", columns: two, data: "1,a\n2,\"b\n3,c\n4,d\n"}.load(t)
	if err != nil || strings.Join(rows, " ") != `[1, "a"] [3, "c"] [4, "d"]` || len(sep.Rejects()) != 1 || sep.Records != 4 {
		t.Errorf("%s, %+v: %v", rows, sep, err)
	}
	rows, sep, err = chunk{format: "CSV", columns: two, data: "1,a\n2,\"b\n3,c\n\"\n4,d\n"}.load(t)
	if err != nil || strings.Join(rows, " ") != `[1, "a"] [2, "b\n3,c\n"] [4, "d"]` || len(sep.Rejects()) != 0 || sep.Records != 3 {
		t.Errorf("%s, %+v: %v", rows, sep, err)
	}
}

// TestRare: what is rare and right is suspected, and loaded.
func TestRare(t *testing.T) {
	c := chunk{format: "JSONEachRow", columns: cols("f", "Float64", "g", "Nullable(Float32)", "i", "UInt8", "j", "Nullable(Int32)"),
		data: `{"f":"inf","g":1.5,"i":true,"j":null}` + "\n" + `{"f":1e400,"g":null,"i":1,"j":2}` + "\n" + `{"f":1,"g":"-inf","i":255,"j":-1}`}
	rows, sep, err := c.load(t)
	if err != nil || strings.Join(rows, " ") != `[null, 1.5, 1, null] [1, null, 255, -1]` || len(sep.Rejects()) != 1 || sep.Rejects()[0].Record != 2 || sep.Rejects()[0].Column != "f" {
		t.Errorf("%s, %+v: %v", rows, sep, err)
	}
	for _, bad := range []string{`""`, `256`, `-1`, `1.5`, `null`, `"x"`, `1e400`, `100000000000000000000000000000`, `[]`} {
		one := chunk{format: "JSONEachRow", columns: cols("i", "UInt8"), data: `{"i":1}` + "\n" + `{"i":` + bad + `}`}
		if rows, sep, err := one.load(t); err != nil || len(rows) != 1 || len(sep.Rejects()) != 1 {
			t.Errorf("%s: %s, %+v: %v", bad, rows, sep, err)
		}
		one.columns = cols("i", "Nullable(Int16)")
		if rows, sep, err := one.load(t); bad != `256` && bad != `-1` && bad != `null` && (err != nil || len(rows) != 1 || len(sep.Rejects()) != 1) {
			t.Errorf("Nullable, %s: %s, %+v: %v", bad, rows, sep, err)
		}
	}
}

// TestReader: bytes that come as a stream are kept; a stream that breaks is not
// taken for its end.
func TestReader(t *testing.T) {
	c := chunk{format: "TSV", columns: cols("id", "UInt8"), offset: 7}
	in := c.input(t)
	in.File, in.Reader = nil, strings.NewReader("1\n300\n")
	sep, err := quarantine.Separate(t.Context(), c.request(t, in, errors.New("cause")))
	if err != nil || len(sep.Rejects()) != 1 || sep.Rejects()[0].Offset != 9 {
		t.Fatalf("%+v: %v", sep, err)
	}
	if err := sep.Close(); err != nil {
		t.Error(err)
	}
	broken := errors.New("the disk is gone")
	in = &source.Input{Reader: failing{broken}, Format: "TSV", Structure: c.columns}
	if _, err := quarantine.Separate(t.Context(), c.request(t, in, errors.New("cause"))); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
