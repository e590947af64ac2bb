package stores_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/source"
	"drayage/pkg/source/files"
	"drayage/pkg/source/files/store/web"
	"drayage/pkg/source/files/stores"
	"drayage/pkg/source/sourcetest"
	"drayage/pkg/testkit/s3test"
)

const manyRows = 10_000

// rows are the same rows in several formats, and as they are wanted.
func rows() (csv, json string, want []string) {
	var c, j strings.Builder
	for i := range manyRows {
		fmt.Fprintf(&c, "%d,\"line\n%d\"\n", i, i)
		fmt.Fprintf(&j, "{\"id\":%d,\"s\":\"line\\n%d\"}\n", i, i)
		want = append(want, fmt.Sprintf(`[%d,"line\n%d"]`, i, i))
	}
	return c.String(), j.String(), want
}

func TestSuiteS3(t *testing.T) {
	csv, json, want := rows()
	half := strings.Index(csv, "5000,\"")
	columns := cols("id", "UInt64", "s", "String")
	parquet := written(t, "SELECT number AS id, 'line\\n' || number AS s FROM numbers(10000)", "Parquet")
	server := bucket(t, map[string]string{
		"csv/2026/a.csv": csv[:half], "csv/2026/b/c.csv": csv[half:], "csv/2026/d.txt": "no", "csv/2025/x.csv": "no",
		"json/a.jsonl": json, "scan/a.json": json, "gz/a.json.gz": gz(t, json[:len(json)/2]), "gz/b.json.gz": gz(t, ""),
		"head/a.csv": "s,id\n", "head/b.csv": "id,s\n" + csv, "parquet/a.parquet": parquet, "parquet/b/none.parquet/": "",
		"orc/a.orc":     written(t, "SELECT number AS id, 'line\\n' || number AS s FROM numbers(5000)", "ORC"),
		"orc/b.native":  written(t, "SELECT number + 5000 AS id, 'line\\n' || id AS s FROM numbers(5000)", "Native"),
		"xz/a.json.xz":  written(t, "SELECT number AS id, 'line\\n' || number AS s FROM numbers(5000)", "JSONEachRow', 'auto', 'xz"),
		"xz/b.json.zst": written(t, "SELECT number + 5000 AS id, 'line\\n' || id AS s FROM numbers(5000)", "JSONEachRow', 'auto', 'zstd"),
	})
	at := "s3://" + s3test.Bucket + "/"
	for name, c := range map[string]struct {
		config files.Config
		uncut  bool
	}{
		"csv":     {files.Config{Paths: []string{at + "csv/2026/**/c*.csv", at + "csv/{2026,2027}/*.csv"}, Columns: columns, Header: new(bool), ChunkBytes: 70 << 10}, false},
		"header":  {files.Config{Paths: []string{at + "head/?.csv"}, Columns: columns, ChunkBytes: 70 << 10}, false},
		"lines":   {files.Config{Paths: []string{at + "json/a.jsonl"}, ChunkBytes: 70 << 10}, false},
		"scanned": {files.Config{Paths: []string{at + "scan/*"}, Columns: columns, ChunkBytes: 70 << 10}, false},
		"parquet": {files.Config{Paths: []string{at + "parquet/**"}, ChunkBytes: 40 << 10}, false},
		"binary":  {files.Config{Paths: []string{at + "orc/[ab].*"}, Columns: columns}, true},
		"packed":  {files.Config{Paths: []string{at + "xz/*"}, Columns: columns}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Stores = reached(server).Openers()
			sourcetest.Run(t, sourcetest.Case{
				New: func() (source.Source, error) { return files.New(c.config) }, Engine: eng, Want: want,
				Memory: 8 << 20, Uncut: c.uncut, Secrets: []string{s3test.SecretKey, s3test.AccessKey},
			})
		})
	}
}

func TestSuiteWeb(t *testing.T) {
	csv, json, want := rows()
	half := strings.Index(csv, "5000,\"")
	dir := t.TempDir()
	for name, data := range map[string]string{"a.csv": csv[:half], "b.csv": csv[half:], "c.json.gz": gz(t, json[:strings.Index(json, `{"id":5000,`)]), "d.json": json[strings.Index(json, `{"id":5000,`):]} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files1 := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Token") != "a-token-of-the-tests" && r.URL.Query().Get("sig") != "a-signature":
			w.WriteHeader(http.StatusForbidden)
		case strings.HasPrefix(r.URL.Path, "/whole/"): // without parts
			r.Header.Del("Range")
			r.URL.Path = strings.TrimPrefix(r.URL.Path, "/whole")
			files1.ServeHTTP(unranged{w}, r)
		default:
			files1.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	server.Config.SetKeepAlivesEnabled(false) // no connection is left to be found
	columns := cols("id", "UInt64", "s", "String")
	signed := "?sig=a-signature"
	for name, c := range map[string]struct {
		config files.Config
		uncut  bool
	}{
		"parts":  {files.Config{Paths: []string{server.URL + "/a.csv", server.URL + "/b.csv"}, Columns: columns, Header: new(bool), ChunkBytes: 70 << 10}, false},
		"whole":  {files.Config{Paths: []string{server.URL + "/whole/a.csv", server.URL + "/whole/b.csv"}, Columns: columns, Header: new(bool)}, true},
		"signed": {files.Config{Paths: []string{server.URL + "/c.json.gz" + signed, server.URL + "/whole/d.json" + signed}, Columns: columns}, true},
	} {
		t.Run(name, func(t *testing.T) {
			far := stores.Config{Web: web.Config{Headers: map[string]string{"X-Token": "a-token-of-the-tests"}}}
			if name == "signed" {
				far.Web.Headers = nil
			}
			c.config.Stores = far.Openers()
			sourcetest.Run(t, sourcetest.Case{
				New: func() (source.Source, error) { return files.New(c.config) }, Engine: eng, Want: want,
				Memory: 8 << 20, Uncut: c.uncut, Secrets: []string{"a-token-of-the-tests", "a-signature"},
			})
		})
	}
}

// unranged hides that a server could read parts.
type unranged struct{ http.ResponseWriter }

func (u unranged) WriteHeader(status int) {
	u.Header().Del("Accept-Ranges")
	u.ResponseWriter.WriteHeader(status)
}
