package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/borders"
	"drayage/pkg/source/sourcetest"
)

// The engine reads each hostile file twice: whole, and chunk by chunk. Where
// it can read the whole, the chunks must give the same rows in the same order;
// where it can not, the chunks must fail too.

// hostileCase is one file and how to read it.
type hostileCase struct {
	cfg  Config
	data string
}

// checkChunks compares the two ways of reading c, and reports whether the file
// could be read.
func checkChunks(t *rapid.T, dir string, c hostileCase) bool {
	path := filepath.Join(dir, "f")
	put(t, path, c.data)
	c.cfg.Paths = []string{path}
	if c.cfg.Format == "CSV" || c.cfg.Format == "TSV" {
		c.cfg.Header = new(bool) // a row may look like one
	}
	s := mustNew(t, c.cfg)
	columns := c.cfg.Columns

	// The whole file, as one chunk of the same source.
	big := c.cfg
	big.ChunkBytes = 1 << 30
	whole, wholeErr := wholeFile(t, mustNew(t, big), path, columns)
	rows, chunks, err := loadTogether(t, s, dir, columns)
	var cut *borders.Error
	switch {
	case errors.As(err, &cut) && strings.Contains(cut.Msg, "never closed"):
		// The engine takes the rest of the file for the value; we do not.
		return false
	case errors.As(err, &cut) && strings.Contains(cut.Msg, "CR LF CR"):
		if !strings.Contains(c.data, "\r\n\r") {
			t.Fatalf("%q: %v", c.data, err)
		}
		return false
	case c.cfg.Format == "TSVRaw" && err != nil && strings.Contains(err.Error(), "CRLF"):
		return false
	case wholeErr != nil:
		if err == nil {
			t.Fatalf("%q: the engine says %v of the whole, the chunks gave %q", c.data, wholeErr, rows)
		}
		return false
	case err != nil:
		t.Fatalf("%q: the chunks failed, the whole did not: %v", c.data, err)
	case !slices.Equal(rows, whole):
		t.Fatalf("%q: the chunks gave\n%q, the whole\n%q", c.data, rows, whole)
	}
	// Planning from any cursor gives the same tail.
	for i, p := range chunks {
		tail, err := plan(s, p.Cursor, columns)
		if err != nil {
			t.Fatalf("going on after chunk %d: %v", i, err)
		}
		if !slices.EqualFunc(tail, chunks[i+1:], samePlanned) {
			t.Fatalf("going on after chunk %d gives %d chunks, not %d", i, len(tail), len(chunks)-i-1)
		}
	}
	return true
}

// loadTogether is load, with the chunks as files that one query reads in order.
func loadTogether(t *rapid.T, s *Source, dir string, columns []job.Column) ([]string, []source.Planned, error) {
	chunks, err := plan(s, nil, columns)
	if err != nil || len(chunks) == 0 {
		return nil, chunks, err
	}
	all, err := os.MkdirTemp(dir, "chunks")
	if err != nil {
		t.Fatalf("%v", err)
	}
	var in *source.Input
	var together strings.Builder
	for i, c := range chunks {
		if in, err = s.Open(t.Context(), c.Input, columns); err != nil {
			return nil, chunks, err
		}
		if in.Doubt != "" {
			return nil, chunks, errors.Join(&borders.Error{Msg: in.Doubt}, in.Close())
		}
		data, err := io.ReadAll(in.Reader)
		if err = errors.Join(err, in.Check(), in.Close()); err != nil {
			return nil, chunks, err
		}
		if in.Pattern != "" {
			together.Write(data)
			continue
		}
		put(t, fmt.Sprintf("%s/%06d", all, i), string(data))
	}
	if in.Pattern != "" {
		put(t, all+"/one", together.String())
		out, err := text(fmt.Sprintf("SELECT %s FROM %s FORMAT JSONCompactEachRow", backquoted(columns, false), sourcetest.Relation(all+"/one", in)), in.Settings)
		return split(out), chunks, err
	}
	out, err := text(fmt.Sprintf("SELECT %s FROM file(%s, %s, %s, 'none') ORDER BY _path, _row_number FORMAT JSONCompactEachRow", backquoted(columns, false),
		literal(all+"/*"), literal(in.Format), literal(backquoted(in.Structure, true))), in.Settings)
	return split(out), chunks, err
}

// wholeFile reads the file at path with the engine and nothing of ours but the
// settings: as it is, without a byte order mark.
func wholeFile(t *rapid.T, s *Source, path string, columns []job.Column) ([]string, error) {
	f, err := s.open(context.Background(), found{path: path})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if len(data) == 0 {
		return nil, nil
	}
	plain := path + ".plain"
	put(t, plain, strings.TrimPrefix(string(data), utf8BOM))
	sql := fmt.Sprintf("SELECT * FROM file(%s, %s, %s, 'none') FORMAT JSONCompactEachRow",
		literal(plain), literal(f.format.name), literal(backquoted(columns, true)))
	out, err := text(sql, s.settings(f.format, columns))
	return split(out), err
}

func pieces(t *rapid.T, most int, from ...string) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(from), 0, most).Draw(t, "pieces"), "")
}

// hostileFamilies draw files of every family that is cut into ranges.
func hostileFamilies() map[string]func(t *rapid.T) hostileCase {
	bom := func(t *rapid.T) string { return rapid.SampledFrom([]string{"", "", "", utf8BOM}).Draw(t, "bom") }
	two := cols("a", "String", "b", "String")
	return map[string]func(t *rapid.T) hostileCase{
		// Records of the right width, so that most files can be read.
		"csv": func(t *rapid.T) hostileCase {
			delimiter := rapid.SampledFrom([]string{",", ";", "|", "\t"}).Draw(t, "delimiter")
			field := rapid.SampledFrom([]string{"", "1", "a", `"a"`, "\"x\ny\"", "\"x\r\ny\"", `"a""b"`, `""`, `"` + delimiter + `"`, `a"b`, "a'b", "é", ` "x` + "\n" + `y"`, ` a `, "\"x\n\"\"\ny\"", strings.Repeat("long", 30), `"` + strings.Repeat("long\n", 30) + `"`, "a\rb", `"x "`, "\"x\t\""})
			end := rapid.SampledFrom([]string{"\n", "\n", "\n", "\r\n", "\n\r"})
			one := rapid.SampledFrom([]bool{false, false, false, true}).Draw(t, "one column")
			var b strings.Builder
			b.WriteString(bom(t))
			for range rapid.IntRange(0, 15).Draw(t, "records") {
				b.WriteString(field.Draw(t, "a"))
				if !one {
					b.WriteString(delimiter + field.Draw(t, "b"))
				}
				b.WriteString(end.Draw(t, "end"))
			}
			if rapid.Bool().Draw(t, "no final newline") {
				b.WriteString("x")
				if !one {
					b.WriteString(delimiter + "y")
				}
			}
			c := two
			if one {
				c = c[:1]
			}
			return hostileCase{Config{Format: "CSV", Delimiter: delimiter, Columns: c}, b.String()}
		},
		// Anything: most can not be read, and then must not be in chunks.
		"csv soup": func(t *rapid.T) hostileCase {
			c := rapid.SampledFrom([][]job.Column{cols("a", "String"), two, cols("a", "Nullable(String)", "b", "Nullable(Int64)"), cols("a", "Array(String)")}).Draw(t, "columns")
			return hostileCase{Config{Format: "CSV", Quote: rapid.SampledFrom([]string{`"`, "'", "none"}).Draw(t, "quote"), Columns: c},
				bom(t) + pieces(t, 25, `"`, `"`, `""`, "'", ",", ",", "\n", "\n", "\r\n", "\r", " ", "\t", "a", "1", "é", "\x00", `\N`, "[1]", "a,b\n", "\"a\nb\",c\n")}
		},
		"tsv": func(t *rapid.T) hostileCase {
			field := rapid.SampledFrom([]string{"", "a", `a\tb`, "a\\\nb", `\\`, `a\\`, `\N`, `\x41`, "\"", "é", " x ", "a\rb", strings.Repeat("long", 30)})
			end := rapid.SampledFrom([]string{"\n", "\n", "\r\n"})
			var b strings.Builder
			b.WriteString(bom(t))
			for range rapid.IntRange(0, 15).Draw(t, "records") {
				b.WriteString(field.Draw(t, "a") + "\t" + field.Draw(t, "b") + end.Draw(t, "end"))
			}
			c := rapid.SampledFrom([][]job.Column{two, cols("a", "Nullable(String)", "b", "Nullable(String)")}).Draw(t, "columns")
			return hostileCase{Config{Format: "TSV", Columns: c}, b.String()}
		},
		"tsv soup": func(t *rapid.T) hostileCase {
			return hostileCase{Config{Format: "TSV", Columns: cols("a", "String")},
				pieces(t, 25, "\n", "\n", "\r\n", "\r", `\`, `\x`, `\N`, "a", "1", "é", "a\n", `\\`+"\n")}
		},
		"json": func(t *rapid.T) hostileCase {
			return hostileCase{Config{Format: "JSONEachRow", Columns: cols("a", "String", "b", "Nullable(String)")}, bom(t) + jsonFile(t, `{"a":%s,"b":%s}`, true)}
		},
		"json as string": func(t *rapid.T) hostileCase {
			return hostileCase{Config{Format: "JSONAsString", Columns: cols("json", "String")}, bom(t) + jsonFile(t, `{"a":%s, "b" : %s}`, true)}
		},
		"json strings": func(t *rapid.T) hostileCase {
			return hostileCase{Config{Format: "JSONStringsEachRow", Columns: cols("a", "String", "b", "Nullable(String)")}, jsonFile(t, `{"a":%s,"b":%s}`, true)}
		},
		"tskv": func(t *rapid.T) hostileCase {
			return hostileCase{Config{Format: "TSKV", Columns: cols("a", "Nullable(String)", "b", "Nullable(String)")},
				pieces(t, 25, "a=1\tb=2\n", "b=\\\n\n", "a=x\\\\\tb=\n", "a=\\N\n", "\n", "b=\\x\n1\n", "a=1\tb=é\r\n")}
		},
		"tsv raw": func(t *rapid.T) hostileCase {
			return hostileCase{Config{Format: "TSVRaw", Columns: cols("a", "String", "b", "String")},
				pieces(t, 25, "a\tb\n", "\\\tc\\\n", "\t\n", "é\t\"\n", "x\ty\r\n")}
		},
		"json arrays": func(t *rapid.T) hostileCase {
			return hostileCase{Config{Format: "JSONCompactEachRow", Columns: cols("a", "String", "b", "Nullable(String)")}, jsonFile(t, `[%s,%s]`, false)}
		},
		"lines": func(t *rapid.T) hostileCase {
			return hostileCase{Config{Format: "LineAsString", Columns: cols("line", "String")}, bom(t) + pieces(t, 25, "\n", "\n", "\r\n", "\r", "a", `"`, `\`, "é", "\x00")}
		},
		"regexp": func(t *rapid.T) hostileCase {
			return hostileCase{Config{Format: "Regexp", Regexp: `(\d*) (.*)`, Columns: cols("n", "String", "rest", "String")},
				pieces(t, 25, "1 a\n", " \n", "22 b \"c\r\n", "3 é\n", " x\ry\n")}
		},
	}
}

func TestHostileFiles(t *testing.T) {
	for name, draw := range hostileFamilies() {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			read, n := 0, 0
			rapid.Check(t, func(t *rapid.T) {
				c := draw(t)
				c.cfg.ChunkBytes = int64(rapid.SampledFrom([]int{1, 2, 7, 30, 200}).Draw(t, "chunk"))
				n++
				if checkChunks(t, dir, c) {
					read++
				}
			})
			if read < n/10 {
				t.Errorf("only %d of %d files could be read: this tests little", read, n)
			}
		})
	}
}

// jsonFile draws rows, mostly well separated.
func jsonFile(t *rapid.T, row string, mayBeArray bool) string {
	value := rapid.SampledFrom([]string{`"a"`, `"}"`, `"\""`, `"\\"`, "\"x\ny\"", `"é"`, `""`, `"` + strings.Repeat("long ", 20) + `"`, `"\u00e9"`, `{"k":[1,"]"]}`, `[1,{"k":"}"}]`, `12`, `"[{"`})
	gap := rapid.SampledFrom([]string{"\n", "\n", " ", ",", " , \n", "\r\n", "", "\n\n"})
	array := mayBeArray && rapid.Bool().Draw(t, "array")
	var b strings.Builder
	if array {
		b.WriteString("[")
	}
	for i := range rapid.IntRange(0, 12).Draw(t, "rows") {
		if i > 0 {
			b.WriteString(gap.Draw(t, "gap"))
		}
		fmt.Fprintf(&b, row, value.Draw(t, "a"), value.Draw(t, "b"))
		if rapid.IntRange(0, 60).Draw(t, "broken") == 0 {
			b.WriteString(rapid.SampledFrom([]string{",,", ";", "]", "[", "}", "x", `"`}).Draw(t, "what"))
		}
	}
	if array && rapid.IntRange(0, 9).Draw(t, "closed") > 0 {
		b.WriteString("]")
	}
	b.WriteString(rapid.SampledFrom([]string{"", "\n", ";", ",\n", " ;\n"}).Draw(t, "end"))
	return b.String()
}
