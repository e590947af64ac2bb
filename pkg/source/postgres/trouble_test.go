package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/sourcetest"
)

// password stands in the addresses of these tests.
const password = "hunter2@secret"

func TestMistakes(t *testing.T) {
	exec(t, `CREATE TABLE mistaken (id int4 PRIMARY KEY, v text);
CREATE ROLE guarded LOGIN PASSWORD '`+password+`'; CREATE ROLE crowded LOGIN CONNECTION LIMIT 0;
DO $$ BEGIN EXECUTE format('COPY (VALUES (''local all guarded scram-sha-256''), (''local all all trust'')) TO %L', current_setting('hba_file')); END $$;
SELECT pg_reload_conf()`)
	none := Config{URL: strings.Replace(db.URL("postgres", password), "/postgres?", "/nowhere?", 1), Table: "mistaken"}
	away := Config{URL: "postgres://postgres:hunter2%40secret@127.0.0.1:1/postgres?sslmode=disable", Table: "mistaken"}
	for name, tt := range map[string]struct {
		Config
		class job.Class
		text  string
	}{
		"right password": {Config{URL: db.URL("guarded", password), Query: "SELECT 1 AS n"}, 0, ""},
		"wrong password": {Config{URL: db.URL("guarded", password+"!"), Query: "SELECT 1 AS n"}, job.Permanent, "pg_hba.conf"},
		"no such user":   {Config{URL: db.URL("nobody", password), Query: "SELECT 1 AS n"}, job.Permanent, `role "nobody" does not exist`},
		"no database":    {none, job.Permanent, `database "nowhere" does not exist`},
		"no server":      {away, job.Retry, "127.0.0.1"},
		"too many":       {Config{URL: db.URL("crowded", password), Query: "SELECT 1 AS n"}, job.SlowDown, "limits.lease"},
		"no right":       {Config{URL: db.URL("guarded", password), Table: "mistaken"}, job.Permanent, "grant SELECT"},
		"no table":       {Config{Table: "Mistaken.x"}, job.Permanent, "there is no such table"},
		"an index":       {Config{Table: "mistaken_pkey"}, job.Permanent, "no table or view"},
		"no key column":  {Config{Table: "mistaken", Key: []string{"ID"}}, job.Permanent, `no column "ID"`},
		"no column":      {Config{Table: "mistaken", Columns: []job.Column{{Name: "w", Type: "String"}}}, job.Permanent, "it has id, v"},
		"where":          {Config{Table: "mistaken", Where: "w = 1"}, job.Permanent, `column "w" does not exist`},
		"where ends":     {Config{Table: "mistaken", Where: "true) OR (true"}, 0, ""},
		"broken where":   {Config{Table: "mistaken", Where: "id >"}, job.Permanent, "syntax error"},
		"broken query":   {Config{Query: "SELECT FROM WHERE"}, job.Permanent, "syntax error"},
		"two statements": {Config{Query: "SELECT 1 AS n; SELECT 2 AS n"}, job.Permanent, "syntax error"},
		"same name":      {Config{Query: "SELECT 1 AS n, 2 AS n"}, job.Permanent, "another name"},
		"no columns":     {Config{Query: "SELECT"}, job.Permanent, "no columns"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := mustNew(t, tt.Config).Columns(t.Context(), nil)
			if tt.text == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || job.ClassOf(err) != tt.class || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("it is %s, want %s: %v", job.ClassOf(err), tt.class, err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is in %v", err)
			}
		})
	}
}

// What fails in the middle of a chunk is an error, and never its end.
func TestBreaksOff(t *testing.T) {
	exec(t, `CREATE TABLE broken (id int4 PRIMARY KEY, v text); INSERT INTO broken SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i;
CREATE FUNCTION timeout_of(i int4) RETURNS int4 LANGUAGE sql AS 'SELECT i FROM pg_sleep(CASE WHEN i = 900 THEN 60 ELSE 0 END)';
CREATE ROLE hasty LOGIN; ALTER ROLE hasty SET statement_timeout = 300; GRANT SELECT ON broken TO hasty`)
	for name, tt := range map[string]struct {
		Config
		class job.Class
		text  string
		then  func(t *testing.T)
	}{
		"killed": {Config{Table: "broken"}, job.Retry, "", func(t *testing.T) {
			if n := exec(t, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'COPY%broken%'"); n != "1" {
				t.Fatalf("%s connections were killed", n)
			}
		}},
		"cancelled there": {Config{Table: "broken"}, job.Retry, "57014", func(t *testing.T) {
			if n := exec(t, "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'COPY%broken%'"); n != "1" {
				t.Fatalf("%s statements were cancelled", n)
			}
		}},
		"division":  {Config{Query: "SELECT id, 1 / (id - 19999) AS v, v AS w FROM broken ORDER BY id"}, job.Permanent, "division by zero", nil},
		"writing":   {Config{Query: "SELECT id, CASE WHEN id = 19999 THEN nextval('broken_seq') END AS n, v FROM broken ORDER BY id"}, job.Permanent, "must not write", nil},
		"statement": {Config{URL: db.URL("hasty", password), Query: "SELECT timeout_of(id) AS n, v FROM broken ORDER BY id"}, job.Retry, "statement_timeout", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "writing" {
				exec(t, "CREATE SEQUENCE broken_seq")
			}
			s := mustNew(t, tt.Config)
			columns := sourcetest.Columns(t, s)
			chunks, err := sourcetest.Plan(t, s, nil, columns)
			if err != nil || len(chunks) != 1 {
				t.Fatalf("%d chunks, %v", len(chunks), err)
			}
			in, err := s.Open(t.Context(), chunks[0].Input, columns)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if _, err := io.ReadFull(in.Reader, make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			if in.Check() == nil {
				t.Error("a chunk that was not read to its end passes")
			}
			if tt.then != nil {
				tt.then(t)
			}
			n, err := io.Copy(io.Discard, in.Reader)
			if err == nil || job.ClassOf(err) != tt.class || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("after %d bytes it is %s, want %s: %v", n, job.ClassOf(err), tt.class, err)
			}
			if again := in.Check(); !errors.Is(again, err) {
				t.Errorf("the check says %v", again)
			}
		})
	}
}

// A table that is not the one that was planned is not read.
func TestAltered(t *testing.T) {
	const table = "CREATE TABLE altered (id int4 PRIMARY KEY, v int4, w text); INSERT INTO altered SELECT i, i, i FROM generate_series(1, 1000) i"
	const blocks = "CREATE TABLE altered AS SELECT i AS id, i AS v, i::text AS w FROM generate_series(1, 1000) i"
	own := []job.Column{{Name: "id", Type: "Int32"}, {Name: "v", Type: "Nullable(Int32)"}}
	for name, tt := range map[string]struct {
		make, alter string
		Config
		want error
	}{
		"type":            {table, "ALTER TABLE altered ALTER v TYPE int8", Config{}, source.ErrChanged},
		"not null":        {table, "ALTER TABLE altered ALTER v SET NOT NULL", Config{}, source.ErrChanged},
		"column dropped":  {table, "ALTER TABLE altered DROP v", Config{}, source.ErrChanged},
		"column renamed":  {table, "ALTER TABLE altered RENAME v TO x", Config{}, source.ErrChanged},
		"other column":    {table, "ALTER TABLE altered DROP w; ALTER TABLE altered ADD x int4 DEFAULT random()", Config{}, nil},
		"key dropped":     {table, "ALTER TABLE altered DROP CONSTRAINT altered_pkey", Config{}, nil},
		"dropped":         {table, "DROP TABLE altered", Config{}, source.ErrGone},
		"renamed":         {table, "ALTER TABLE altered RENAME TO altered_away", Config{}, source.ErrGone},
		"rewritten":       {blocks, "ALTER TABLE altered ADD x int4 DEFAULT random()", Config{}, source.ErrChanged},
		"truncated":       {blocks, "TRUNCATE altered", Config{}, source.ErrChanged},
		"made anew":       {blocks, "DROP TABLE altered; " + blocks, Config{}, source.ErrChanged},
		"rows added":      {blocks, "INSERT INTO altered SELECT i, i, i FROM generate_series(1, 1000) i", Config{}, nil},
		"query's table":   {table, "DROP TABLE altered", Config{Query: "SELECT * FROM altered"}, source.ErrGone},
		"query's column":  {table, "ALTER TABLE altered DROP v", Config{Query: "SELECT id, v FROM altered"}, source.ErrChanged},
		"query's type":    {table, "ALTER TABLE altered ALTER v TYPE int8", Config{Query: "SELECT * FROM altered"}, source.ErrChanged},
		"query by a key":  {table, "DROP TABLE altered", Config{Query: "SELECT * FROM altered", Key: []string{"id"}}, source.ErrGone},
		"nothing":         {table, "SELECT 1", Config{}, nil},
		"view, its table": {table + "; CREATE VIEW altered_view AS SELECT * FROM altered", "DROP TABLE altered CASCADE", Config{Table: "altered_view"}, source.ErrGone},
	} {
		t.Run(name, func(t *testing.T) {
			exec(t, "DROP TABLE IF EXISTS altered CASCADE; DROP TABLE IF EXISTS altered_away; "+tt.make)
			if tt.Query == "" && tt.Table == "" {
				tt.Table = "altered"
			}
			tt.Config.Columns, tt.Rows = own, 600
			s := mustNew(t, tt.Config)
			chunks, err := sourcetest.Plan(t, s, nil, own)
			if err != nil || len(chunks) == 0 {
				t.Fatalf("%d chunks, %v", len(chunks), err)
			}
			exec(t, tt.alter)
			_, err = sourcetest.Chunk(t, s, chunks[0].Input, own)
			if !errors.Is(err, tt.want) || err != nil && job.ClassOf(err) != job.Permanent {
				t.Errorf("opening says %s: %v", job.ClassOf(err), err)
			}
			if tt.want == nil {
				return
			}
			if len(chunks) > 1 {
				if _, err = sourcetest.Plan(t, s, chunks[0].Cursor, own); !errors.Is(err, tt.want) && !strings.HasPrefix(tt.make, blocks) {
					t.Errorf("planning on says %v", err)
				}
			}
		})
	}
}

// A transaction that began before a table was rewritten sees no row of it.
func TestRewrittenThisMoment(t *testing.T) {
	exec(t, `CREATE TABLE moment (id int4 PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE moment_0 PARTITION OF moment FOR VALUES FROM (0) TO (9); INSERT INTO moment VALUES (1)`)
	s := mustNew(t, Config{Table: "moment"})
	c, err := s.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	r := &relation{}
	if found, err := c.table(r); err != nil || !found {
		t.Fatal(found, err)
	}
	exec(t, "ALTER TABLE moment ADD x int4 DEFAULT random()")
	if err := c.columns(r); err == nil || job.ClassOf(err) != job.Retry {
		t.Errorf("the error is %v", err)
	}
}

// What is cancelled ends at once, here and in the server.
func TestCancel(t *testing.T) {
	s := mustNew(t, Config{Query: "SELECT id, CASE WHEN id > 5000 THEN pg_sleep(60)::text END AS s, repeat('x', 100) AS x FROM generate_series(1, 6000) id"})
	columns := sourcetest.Columns(t, s)
	input := json.RawMessage(nil)
	c, err := s.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := c.describe()
	c.close()
	if err != nil {
		t.Fatal(err)
	}
	shape, _ := r.shape(columns)
	if input, err = json.Marshal(piece{Range: keyed.Range{Shape: shape}, Manner: asWhole}); err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(stop func(), in *source.Input){
		"context": func(stop func(), in *source.Input) { stop(); _, _ = io.Copy(io.Discard, in.Reader); in.Close() },
		"close":   func(_ func(), in *source.Input) { in.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			in, err := s.Open(ctx, input, columns)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(in.Reader, make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			end(stop, in)
			if took := time.Since(begin); took > goodbye {
				t.Errorf("it took %s", took)
			}
			if n := exec(t, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"); n != "0" {
				t.Errorf("%s statements go on", n)
			}
		})
	}
}

// The first text may begin with what looks like a byte order mark.
func TestMark(t *testing.T) {
	for _, text := range []string{"\ufeff", "\ufeff\ufeffx", "\\xEF\ufeff"} {
		rows, rejects := read(t, Config{Query: fmt.Sprintf("SELECT '%s' AS v", text)}, "SELECT hex(v) FROM chunk")
		if len(rejects) > 0 || fmt.Sprint(rows) != fmt.Sprintf("[[%X]]", text) {
			t.Errorf("%X is read as %v %v", text, rows, rejects)
		}
	}
}
