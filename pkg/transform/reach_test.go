package transform_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/allow"
	"drayage/pkg/job"
	"drayage/pkg/transform"
)

// TestSealed: a SELECT reads its input and the lookups, and nothing else.
func TestSealed(t *testing.T) {
	t.Parallel()
	w, err := transform.Prepare(t.Context(), eng, "sealed")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Drop(t.Context()) })
	cols := []job.Column{{Name: "id", Type: "UInt64"}, {Name: "name", Type: "String"}}
	for _, name := range []string{"cities", "file"} {
		if err := w.DeclareLookup(t.Context(), name, cols); err != nil {
			t.Fatal(err)
		}
	}
	other, err := transform.Prepare(t.Context(), eng, "other_job")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Drop(t.Context()) })
	if err := other.DeclareLookup(t.Context(), "salaries", cols); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for sql, want := range map[string]string{
		// What is allowed.
		"SELECT id, name FROM chunk":                                                                                          "",
		"SELECT c.id, x.name FROM chunk c LEFT JOIN cities x ON x.id = c.id":                                                  "",
		"SELECT id FROM chunk WHERE id IN (SELECT id FROM cities) OR id IN cities OR id IN (1, 2)":                            "",
		"WITH big AS (SELECT * FROM chunk WHERE id > 1) SELECT * FROM big UNION ALL SELECT * FROM big":                        "",
		"SELECT id, number FROM chunk CROSS JOIN numbers(3) AS n SETTINGS join_use_nulls = 1":                                 "",
		"SELECT * FROM values('id UInt64, name String', (1, 'a'))":                                                            "",
		"SELECT format('{} {}', name, 'file(x)') AS n FROM chunk":                                                             "",
		"SELECT id FROM (SELECT id FROM file)":                                                                                "", // a lookup of that name
		"SELECT id AS \"file\", name AS \"system.tables\" FROM chunk ORDER BY 1 SETTINGS allow_experimental_variant_type = 1": "",
		// What is not.
		"SELECT * FROM file('" + secret + "', LineAsString)":                                  "file() reads beyond",
		"SELECT id,\n  file('" + secret + "') AS x FROM chunk":                                "line 2, column 3: file() reads beyond",
		"SELECT * FROM chunk WHERE name IN file('" + secret + "', LineAsString)":              "file() reads beyond",
		"SELECT (SELECT max(line) FROM file('" + secret + "', LineAsString)) FROM chunk":      "file() reads beyond",
		"SELECT * FROM view(SELECT * FROM File('" + secret + "', LineAsString))":              "File() reads beyond",
		"SELECT * FROM chunk UNION ALL SELECT 1, line FROM `url`('http://127.0.0.1:1/')":      "url() reads beyond",
		"SELECT * FROM s3('http://127.0.0.1:1/b/k', CSV)":                                     "s3() reads beyond",
		"SELECT * FROM remote('127.0.0.1:1', system.one)":                                     "remote() reads beyond",
		"SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')":                         "postgresql() reads beyond",
		"SELECT * FROM executable('id', TSV, 'a String')":                                     "executable() reads beyond",
		"SELECT * FROM merge('.*', '.*')":                                                     "merge() reads beyond",
		"SELECT * FROM dictionary('d')":                                                       "dictionary() reads beyond",
		"SELECT * FROM cluster('default', system.one)":                                        "cluster() reads beyond",
		"SELECT * FROM filesystem('/etc')":                                                    "filesystem() reads beyond",
		"SELECT * FROM eval('SELECT 1')":                                                      "eval() reads beyond",
		"SELECT * FROM (EXPLAIN SELECT 1)":                                                    "viewExplain() reads beyond",
		"SELECT aiGenerate('x') FROM chunk":                                                   "aiGenerate() reads beyond",
		"SELECT * FROM sqlite('" + secret + "', 't')":                                         "sqlite() reads beyond",
		"SELECT * FROM system.settings":                                                       "the table system.settings is neither",
		"SELECT id FROM chunk WHERE id IN other_job.salaries":                                 "the table other_job.salaries is neither",
		"SELECT * FROM other_job.salaries":                                                    "the table other_job.salaries is neither",
		"SELECT id FROM chunk WHERE id GLOBAL NOT IN (SELECT id FROM other_job.salaries)":     "the table other_job.salaries is neither",
		"SELECT id FROM chunk SETTINGS max_memory_usage = 0":                                  "max_memory_usage is not the SELECT's",
		"SELECT id FROM (SELECT id FROM chunk SETTINGS max_threads = 64)":                     "max_threads is not the SELECT's",
		"SELECT id FROM chunk SETTINGS join_use_nulls = 1, input_format_allow_errors_num = 9": "input_format_allow_errors_num is not the SELECT's",
		"SELECT * FROM chunk INTO OUTFILE '" + secret + ".out'":                               "Syntax error",
		"SELECT 1) UNION ALL (SELECT 2":                                                       "Syntax error",
		"SELECT 1; SELECT 2":                                                                  "Multi-statements",
		"INSERT INTO FUNCTION file('" + secret + "') SELECT 1":                                "not a SELECT",
		"CREATE TABLE x ENGINE = File(CSV, '" + secret + "') AS SELECT 1":                     "not a SELECT",
	} {
		_, err := transform.Check(t.Context(), w, sql, cols)
		var mistake *transform.SQLError
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", sql, err)
		case want != "" && (!errors.As(err, &mistake) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: the mistake is %v, want %s", sql, err, want)
		case err != nil && strings.Contains(err.Error(), "canary"):
			t.Errorf("%s: the canary sings: %v", sql, err)
		}
		if want != "" && !strings.Contains(want, "Syntax") && !strings.Contains(want, "not a SELECT") && !strings.Contains(want, "Multi") {
			if err := transform.Sealed(t.Context(), w, sql, cols); !errors.As(err, &mistake) || job.ClassOf(err) != job.Permanent {
				t.Errorf("%s: a worker's look gives %v", sql, err)
			}
		}
	}
	if _, err := os.Stat(secret + ".out"); err == nil {
		t.Error("a file was written")
	}
	// A type is no place for a clause.
	err = w.DeclareLookup(t.Context(), "evil", []job.Column{{Name: "a", Type: "String) ENGINE = File(LineAsString, '" + secret + "') -- "}})
	if err == nil {
		t.Error("a clause went in as a type")
	}
}

// TestReach: a relation reads the hosts and paths that rules allow.
func TestReach(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "in", "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "in", "a.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "in", "link")); err != nil {
		t.Fatal(err)
	}
	rules, err := allow.New(allow.Config{Paths: []string{filepath.Join(dir, "in")}, Hosts: []string{"127.0.0.1:5432", "localhost:80", "10.0.0.0/8", "*"}})
	if err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(dir, "in")
	reach := transform.Reach{Engine: eng, Rules: rules}
	server := transform.Reach{Engine: eng, Rules: rules, Server: true}
	for _, tt := range []struct {
		reach transform.Reach
		sql   string
		ok    bool
	}{
		{reach, "(SELECT * FROM numbers(10))", true},
		{reach, "(SELECT * FROM file('" + in + "/*.csv', CSV))", true},
		{reach, "(SELECT * FROM sqlite('" + in + "/a.db', 't'))", true},
		{reach, "(SELECT * FROM postgresql('127.0.0.1:5432', 'd', 't', 'u', 'p'))", true},
		{reach, "(SELECT * FROM postgresql('127.0.0.1', 'd', 't', 'u', 'p'))", true},
		{reach, "(SELECT * FROM url('http://localhost/x', CSV, headers('a'='b')))", true},
		{reach, "(SELECT * FROM mongodb('mongodb://u:p@10.1.2.3/db', 'c'))", true},
		{reach, "(SELECT * FROM mysql('10.1.2.3:3306', 'd', 't', 'u', 'p'))", true},

		{reach, "(SELECT * FROM file('/etc/passwd', LineAsString))", false},
		{reach, "(SELECT * FROM file('" + in + "/../other', LineAsString))", false},
		{reach, "(SELECT * FROM file('" + in + "/link/passwd', LineAsString))", false},
		{reach, "(SELECT * FROM file('relative.csv', LineAsString))", false},
		{reach, "(SELECT * FROM file(concat('/etc/', 'passwd'), LineAsString))", false},
		{reach, "(SELECT file('/etc/passwd'))", false},
		{reach, "(SELECT 1 WHERE 'a' IN file('/etc/passwd', LineAsString))", false},
		{reach, "(SELECT * FROM url('http://127.0.0.1:8123/', CSV))", false},
		{reach, "(SELECT * FROM url('http://169.254.169.254/latest/meta-data', CSV))", false},
		{reach, "(SELECT * FROM url('http://[::ffff:169.254.169.254]/', CSV))", false},
		{reach, "(SELECT * FROM url('http://{127.0.0.1,localhost}/', CSV))", false},
		{reach, "(SELECT * FROM url('file:///etc/passwd', CSV))", false},
		{reach, "(SELECT * FROM url('http://example.com/', CSV))", false}, // * is not enough
		{reach, "(SELECT * FROM url(named_collection))", false},
		{reach, "(SELECT * FROM mysql(named_collection, host = '127.0.0.1'))", false},
		{reach, "(SELECT * FROM postgresql('127.0.0.1:5432,127.0.0.1:5433', 'd', 't', 'u', 'p'))", false},
		{reach, "(SELECT * FROM postgresql('127.0.0.{1|2}:5432', 'd', 't', 'u', 'p'))", false},
		{reach, "(SELECT * FROM remote('127.0.0.1:5432', url('http://127.0.0.1:8123/')))", false},
		{reach, "(SELECT * FROM s3('http://127.0.0.1:9000/b/k', CSV))", false},
		{reach, "(SELECT * FROM executable('id', TSV, 'a String'))", false},
		{reach, "(SELECT * FROM odbc('DSN=x', 'a', 'b'))", false},
		{reach, "(SELECT * FROM azureBlobStorage('DefaultEndpointsProtocol=https', 'a', 'b'))", false},
		{reach, "(SELECT * FROM system.tables)", false},
		{reach, "(SELECT 1 WHERE 1 IN system.one)", false},
		{reach, "(SELECT * FROM url('http://localhost/x', CSV) SETTINGS max_http_get_redirects = 9)", false},
		{reach, "(SELECT aiGenerate('x'))", false},

		{server, "(SELECT * FROM shop.customers JOIN cluster('all', shop.cities) USING id)", true},
		{server, "(SELECT * FROM mysql('10.1.2.3:3306', 'd', 't', 'u', 'p'))", true},
		{server, "(SELECT * FROM file('" + in + "/a.csv', CSV))", false},
		{server, "(SELECT * FROM url('http://127.0.0.1:8123/', CSV))", false},
		{server, "(SELECT * FROM executable('id', TSV, 'a String'))", false},
	} {
		err := tt.reach.Relation(t.Context(), tt.sql)
		var refused *job.RefusedError
		if tt.ok && err != nil || !tt.ok && (!errors.As(err, &refused) || job.ClassOf(err) != job.Permanent) {
			t.Errorf("%s: %v", tt.sql, err)
		}
	}
	if _, err := reach.Judge(t.Context(), "numbers(1)", map[string]string{"max_http_get_redirects": "3"}); err == nil {
		t.Error("redirects may be set")
	}
}

// TestCreated: what a clause does beside making a table is seen.
func TestCreated(t *testing.T) {
	t.Parallel()
	for clause, want := range map[string]transform.Creation{
		"ENGINE = MergeTree ORDER BY a": {},
		"ENGINE = ReplacingMergeTree(a) PARTITION BY a % 7 ORDER BY a TTL d + INTERVAL 1 DAY SETTINGS index_granularity = 8192 COMMENT 'of disk = x'": {Disk: true},
		"ENGINE = MergeTree ORDER BY tuple() SETTINGS storage_policy = 'hot'":                                                                         {},
		"ENGINE = MergeTree ORDER BY a AS SELECT 1 AS a, today() AS d":                                                                                {Rows: true},
		"ENGINE = MergeTree ORDER BY a AS SELECT * FROM url('http://127.0.0.1:1/', CSV)":                                                              {Rows: true, Reads: "url"},
		"ENGINE = MergeTree ORDER BY length(file('/etc/passwd'))":                                                                                     {Reads: "file"},
		"ENGINE = MergeTree ORDER BY a SETTINGS /* */ `disk` = disk(type = 'local', path = '/etc')":                                                   {Disk: true},
	} {
		got, err := transform.Created(t.Context(), eng, "CREATE TABLE IF NOT EXISTS db.t ON CLUSTER 'c' (a UInt64 CODEC(ZSTD(3)), d Date)\n"+clause)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", clause, got, err, want)
		}
	}
}
