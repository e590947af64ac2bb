package engine

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func zipped(s string) io.Reader {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return &b
}

// TestShapesOfRequests is each way in which a request can say what it wants.
func TestShapesOfRequests(t *testing.T) {
	p, db := use(t)
	run(t, p.Client(), "CREATE TABLE "+db+".t (a Int32, b String DEFAULT concat('d', toString(a))) ENGINE = MergeTree ORDER BY a")
	insert := "INSERT INTO t FORMAT CSV"
	for _, tc := range []struct {
		name       string
		method     string
		parameters url.Values
		header     http.Header
		body       io.Reader
		status     int
		want       string // of the body; when it is about an error, its start
		rows       string // what the statement inserted, as a,b;…
	}{
		{name: "get", method: "GET", parameters: with("query", "SELECT 1"), want: "1\n"},
		{name: "no query", method: "GET", want: "Ok.\n"},
		{name: "query in the body", method: "POST", body: strings.NewReader("SELECT 1, 'a'"), want: "1\ta\n"},
		{name: "half in each", method: "POST", parameters: with("query", "SELECT"), body: strings.NewReader("2"), want: "2\n"},
		{name: "format in the query", method: "POST", body: strings.NewReader("SELECT 1 AS x FORMAT JSONEachRow"), want: "{\"x\":1}\n"},
		{name: "default format", method: "POST", parameters: with("default_format", "CSVWithNames"), body: strings.NewReader("SELECT 'a' AS x"), want: "\"x\"\n\"a\"\n"},
		{name: "format in a header", method: "POST", header: http.Header{"X-Clickhouse-Format": {"CSV"}}, body: strings.NewReader("SELECT 'a'"), want: "\"a\"\n"},
		{name: "parameters", method: "GET", parameters: with("query", "SELECT {n:Int32} + 1, {s:String}", "param_n", "41", "param_s", `it's`), want: "42\tit\\'s\n"},
		{name: "settings", method: "GET", parameters: with("query", "SELECT getSetting('max_block_size')", "max_block_size", "77"), want: "77\n"},
		{name: "settings after the format", method: "POST", body: strings.NewReader("SELECT number FROM numbers(2) FORMAT CSV SETTINGS max_threads = 1;"), want: "0\n1\n"},
		{name: "comment at the end", method: "POST", body: strings.NewReader("SELECT 1 -- one"), want: "1\n"},
		{name: "from first", method: "POST", body: strings.NewReader("FROM numbers(1) SELECT number"), want: "0\n"},
		{name: "union", method: "POST", body: strings.NewReader("(SELECT 1) UNION ALL (SELECT 1)"), want: "1\n1\n"},
		{name: "show", method: "POST", body: strings.NewReader("SHOW TABLES"), want: "t\n"},
		{name: "exists", method: "POST", body: strings.NewReader("EXISTS TABLE t"), want: "1\n"},
		{name: "gzip both ways", method: "POST", header: http.Header{"Content-Encoding": {"gzip"}}, body: zipped("SELECT 3"), want: "3\n"},
		{name: "wait for the end", method: "POST", parameters: with("wait_end_of_query", "1"), body: strings.NewReader("SELECT max(number) FROM numbers(10)"), want: "9\n"},

		{name: "insert by parameter", method: "POST", parameters: with("query", insert), body: strings.NewReader("1,x\n2,y\n"), rows: "1,x;2,y"},
		{name: "insert in the body", method: "POST", body: strings.NewReader(insert + "\n1,x\n2,y\n"), rows: "1,x;2,y"},
		{name: "insert with a default", method: "POST", body: strings.NewReader("INSERT INTO t (a) FORMAT TSV\n7\n"), rows: "7,d7"},
		{name: "values", method: "POST", body: strings.NewReader("INSERT INTO t VALUES (1, 'x'), (1 + 1, concat('y', 'z'));"), rows: "1,x;2,yz"},
		{name: "values half in each", method: "POST", parameters: with("query", "INSERT INTO t VALUES"), body: strings.NewReader("(1, 'x')"), rows: "1,x"},
		{name: "values in the parameter", method: "POST", parameters: with("query", "INSERT INTO t VALUES (1, 'x')"), rows: "1,x"},
		{name: "with settings", method: "POST", body: strings.NewReader("INSERT INTO t SETTINGS async_insert = 1 FORMAT JSONEachRow {\"a\": 5}"), rows: "5,d5"},
		{name: "gzip insert", method: "POST", parameters: with("query", insert), header: http.Header{"Content-Encoding": {"gzip"}}, body: zipped("1,x\n"), rows: "1,x"},
		{name: "input", method: "POST", parameters: with("query", "INSERT INTO t (a) SELECT x * 2 FROM input('x Int32') FORMAT CSV"), body: strings.NewReader("4\n5\n"), rows: "8,d8;10,d10"},
		{name: "input of the table's own columns", method: "POST", body: strings.NewReader("INSERT INTO t SELECT a, upper(b) FROM input() FORMAT CSV\n1,x\n"), rows: "1,X"},
		{name: "insert select", method: "POST", body: strings.NewReader("INSERT INTO t (a) SELECT number FROM numbers(2)"), rows: "0,d0;1,d1"},
		{name: "empty insert", method: "POST", parameters: with("query", insert), rows: ""},

		{name: "syntax", method: "POST", body: strings.NewReader("SELECT 1 +"), status: 400, want: "Code: 62. DB::Exception: Syntax error: failed at position 11 (end of query)"},
		{name: "empty", method: "POST", body: strings.NewReader(""), status: 400, want: "Code: 62. DB::Exception: Empty query"},
		{name: "two statements", method: "POST", body: strings.NewReader("SELECT 1; SELECT 2"), status: 400, want: "Code: 62. DB::Exception: Syntax error (Multi-statements are not allowed)"},
		{name: "unknown table", method: "POST", body: strings.NewReader("SELECT * FROM nowhere"), status: 404, want: "Code: 60. DB::Exception: "},
		{name: "unknown database", method: "POST", parameters: with("database", "nowhere"), body: strings.NewReader("SELECT 1"), status: 404, want: "Code: 81. DB::Exception: "},
		{name: "unknown setting", method: "GET", parameters: with("query", "SELECT 1", "no_such_setting", "1"), status: 404, want: "Code: 115. DB::Exception: "},
		{name: "unknown format", method: "POST", body: strings.NewReader("SELECT 1 FORMAT Nosuch"), status: 404, want: "Code: 73. DB::Exception: "},
		{name: "insert in an unknown format", method: "POST", body: strings.NewReader("INSERT INTO t FORMAT Nosuch\n1"), status: 404, want: "Code: 73. DB::Exception: "},
		{name: "insert into an unknown table", method: "POST", parameters: with("query", "INSERT INTO nowhere FORMAT CSV"), body: strings.NewReader(strings.Repeat("1\n", 1<<20)), status: 404, want: "Code: 60. DB::Exception: "},
		{name: "data that do not parse", method: "POST", parameters: with("query", insert), body: strings.NewReader("1,x\nfoo,y\n"), status: 400, want: "Code: 27. DB::Exception: "},
		{name: "missing parameter", method: "GET", parameters: with("query", "SELECT {n:Int32}"), status: 500, want: "Code: 456. DB::Exception: "},
		{name: "get that writes", method: "GET", parameters: with("query", "DROP TABLE t"), status: 500, want: "Code: 164. DB::Exception: "},
		{name: "file of the client", method: "POST", body: strings.NewReader("SELECT 1 INTO OUTFILE '/tmp/x'"), status: 501, want: "Code: 48. DB::Exception: "},
		{name: "unknown encoding", method: "POST", header: http.Header{"Content-Encoding": {"rot13"}}, body: strings.NewReader("SELECT 1"), status: 501, want: "Code: 48. DB::Exception: "},
		{name: "broken gzip", method: "POST", header: http.Header{"Content-Encoding": {"gzip"}}, body: strings.NewReader("no gzip"), status: 500, want: "Code: 33. DB::Exception: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run(t, p.Client(), "TRUNCATE TABLE "+db+".t")
			parameters := with("database", db)
			for k, v := range tc.parameters {
				parameters[k] = v
			}
			if tc.name == "no query" {
				parameters = nil
			}
			a := curl(t, p, tc.method, parameters, tc.header, tc.body)
			status := max(tc.status, 200)
			if a.status != status || status == 200 && a.body != tc.want || !strings.HasPrefix(a.body, tc.want) {
				t.Fatalf("status %d, body %.300q; want %d, %q", a.status, a.body, status, tc.want)
			}
			if status != 200 {
				code, _, _ := strings.Cut(strings.TrimPrefix(tc.want, "Code: "), ".")
				if got := a.header.Get("X-ClickHouse-Exception-Code"); got != code {
					t.Errorf("exception code %q, want %q", got, code)
				}
			}
			got := text(t, p.Client(), "SELECT arrayStringConcat(groupArray(concat(toString(a), ',', b)), ';') FROM (SELECT * FROM "+db+".t ORDER BY a, b)")
			if got != tc.rows {
				t.Errorf("inserted %q, want %q", got, tc.rows)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	p, db := use(t)
	run(t, p.Client(), "CREATE TABLE "+db+".t (a Int32) ENGINE = MergeTree ORDER BY a")
	a := curl(t, p, "POST", with("query", "INSERT INTO t FORMAT CSV", "database", db, "query_id", "my-id"), nil, strings.NewReader("1\n2\n3\n"))
	if got := a.header.Get("X-ClickHouse-Query-Id"); got != "my-id" {
		t.Errorf("query id %q", got)
	}
	if got := a.header.Get("X-ClickHouse-Summary"); !strings.Contains(got, `"read_rows":"3"`) || !strings.Contains(got, `"written_rows":"3"`) {
		t.Errorf("summary of an insert: %s", got)
	}
	a = curl(t, p, "GET", with("query", "SELECT count() FROM numbers(1000) WHERE number % 2 FORMAT JSON"), nil, nil)
	for name, want := range map[string]string{
		"X-Clickhouse-Format": "JSON", "X-Clickhouse-Timezone": "UTC", "Content-Type": "application/json; charset=UTF-8",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := a.header.Get("X-ClickHouse-Summary"); !strings.Contains(got, `"read_rows":"1000"`) || !strings.Contains(got, `"result_rows":"1"`) {
		t.Errorf("summary of a select: %s", got)
	}
	if a.header.Get("X-ClickHouse-Server-Display-Name") == "" || a.header.Get("X-ClickHouse-Query-Id") == "" {
		t.Errorf("headers %v", a.header)
	}
}

func TestPaths(t *testing.T) {
	p, _ := use(t)
	base := strings.Replace(p.URL(), "default:", "nobody:", 1)
	for path, want := range map[string]int{"/ping": 200, "/": 200, "/replicas_status": 200, "/nowhere": 404} {
		res, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, res.StatusCode, want)
		}
	}
}

func TestAuthentication(t *testing.T) {
	p, _ := use(t)
	u, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	u.User = nil
	for _, tc := range []struct {
		name  string
		query string
		head  http.Header
		want  int
	}{
		{"header", "", http.Header{"X-Clickhouse-User": {"default"}, "X-Clickhouse-Key": {password}}, 200},
		{"parameter", "&user=default&password=" + password, nil, 200},
		{"nothing", "", nil, 403},
		{"wrong password", "&user=default&password=x", nil, 403},
		{"wrong user", "", http.Header{"X-Clickhouse-User": {"root"}, "X-Clickhouse-Key": {password}}, 403},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", u.String()+"/?query=SELECT+1"+tc.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range tc.head {
			req.Header[k] = v
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != tc.want {
			t.Errorf("%s: status %d, want %d", tc.name, res.StatusCode, tc.want)
		}
		if tc.want == 403 && res.Header.Get("X-ClickHouse-Exception-Code") != "516" || strings.Contains(string(body), password) {
			t.Errorf("%s: %s", tc.name, body)
		}
	}
}
