package postgres

import (
	"fmt"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/keyed/keyedtest"
	"drayage/pkg/source/sourcetest"
)

const password = keyedtest.Password

func TestMistakes(t *testing.T) {
	exec(t, `CREATE TABLE mistaken (id int4 PRIMARY KEY, v text);
CREATE ROLE guarded LOGIN PASSWORD '`+password+`'; CREATE ROLE crowded LOGIN CONNECTION LIMIT 0;
DO $$ BEGIN EXECUTE format('COPY (VALUES (''local all guarded scram-sha-256''), (''local all all trust'')) TO %L', current_setting('hba_file')); END $$;
SELECT pg_reload_conf()`)
	none := keyed.Config{URL: strings.Replace(db.URL("postgres", password), "/postgres?", "/nowhere?", 1), Table: "mistaken"}
	away := keyed.Config{URL: "postgres://postgres:hunter2%40secret@127.0.0.1:1/postgres?sslmode=disable", Table: "mistaken"}
	keyedtest.Mistakes(t, database, map[string]keyedtest.Mistake{
		"right password": {Config: keyed.Config{URL: db.URL("guarded", password), Query: "SELECT 1 AS n"}},
		"wrong password": {Config: keyed.Config{URL: db.URL("guarded", password+"!"), Query: "SELECT 1 AS n"}, Class: job.Permanent, Text: "pg_hba.conf"},
		"no such user":   {Config: keyed.Config{URL: db.URL("nobody", password), Query: "SELECT 1 AS n"}, Class: job.Permanent, Text: `role "nobody" does not exist`},
		"no database":    {Config: none, Class: job.Permanent, Text: `database "nowhere" does not exist`},
		"no server":      {Config: away, Class: job.Retry, Text: "127.0.0.1"},
		"too many":       {Config: keyed.Config{URL: db.URL("crowded", password), Query: "SELECT 1 AS n"}, Class: job.SlowDown, Text: "limits.lease"},
		"no right":       {Config: keyed.Config{URL: db.URL("guarded", password), Table: "mistaken"}, Class: job.Permanent, Text: "grant SELECT"},
		"no table":       {Config: keyed.Config{Table: "Mistaken.x"}, Class: job.Permanent, Text: "there is no such table"},
		"an index":       {Config: keyed.Config{Table: "mistaken_pkey"}, Class: job.Permanent, Text: "no table or view"},
		"no key column":  {Config: keyed.Config{Table: "mistaken", Key: []string{"ID"}}, Class: job.Permanent, Text: `no column "ID"`},
		"no column":      {Config: keyed.Config{Table: "mistaken", Columns: []job.Column{{Name: "w", Type: "String"}}}, Class: job.Permanent, Text: "it has id, v"},
		"where":          {Config: keyed.Config{Table: "mistaken", Where: "w = 1"}, Class: job.Permanent, Text: `column "w" does not exist`},
		"where ends":     {Config: keyed.Config{Table: "mistaken", Where: "true) OR (true"}},
		"broken where":   {Config: keyed.Config{Table: "mistaken", Where: "id >"}, Class: job.Permanent, Text: "syntax error"},
		"broken query":   {Config: keyed.Config{Query: "SELECT FROM WHERE"}, Class: job.Permanent, Text: "syntax error"},
		"two statements": {Config: keyed.Config{Query: "SELECT 1 AS n; SELECT 2 AS n"}, Class: job.Permanent, Text: "syntax error"},
		"same name":      {Config: keyed.Config{Query: "SELECT 1 AS n, 2 AS n"}, Class: job.Permanent, Text: "another name"},
		"no columns":     {Config: keyed.Config{Query: "SELECT"}, Class: job.Permanent, Text: "no columns"},
	})
}

// What fails in the middle of a chunk is an error, and never its end.
func TestBreaksOff(t *testing.T) {
	exec(t, `CREATE TABLE broken (id int4 PRIMARY KEY, v text); INSERT INTO broken SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i;
CREATE FUNCTION timeout_of(i int4) RETURNS int4 LANGUAGE sql AS 'SELECT i FROM pg_sleep(CASE WHEN i = 900 THEN 60 ELSE 0 END)';
CREATE SEQUENCE broken_seq; CREATE ROLE hasty LOGIN; ALTER ROLE hasty SET statement_timeout = 300; GRANT SELECT ON broken TO hasty`)
	keyedtest.BreaksOff(t, database, map[string]keyedtest.Broken{
		"killed": {Config: keyed.Config{Table: "broken"}, Class: job.Retry, Then: func(t *testing.T) {
			if n := exec(t, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'COPY%broken%'"); n != "1" {
				t.Fatalf("%s connections were killed", n)
			}
		}},
		"cancelled there": {Config: keyed.Config{Table: "broken"}, Class: job.Retry, Text: "57014", Then: func(t *testing.T) {
			if n := exec(t, "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'COPY%broken%'"); n != "1" {
				t.Fatalf("%s statements were cancelled", n)
			}
		}},
		"division":  {Config: keyed.Config{Query: "SELECT id, 1 / (id - 19999) AS v, v AS w FROM broken ORDER BY id"}, Class: job.Permanent, Text: "division by zero"},
		"writing":   {Config: keyed.Config{Query: "SELECT id, CASE WHEN id = 19999 THEN nextval('broken_seq') END AS n, v FROM broken ORDER BY id"}, Class: job.Permanent, Text: "must not write"},
		"statement": {Config: keyed.Config{URL: db.URL("hasty", password), Query: "SELECT timeout_of(id) AS n, v FROM broken ORDER BY id"}, Class: job.Retry, Text: "statement_timeout"},
	})
}

// A table that is not the one that was planned is not read.
func TestAltered(t *testing.T) {
	const table = "CREATE TABLE altered (id int4 PRIMARY KEY, v int4, w text); INSERT INTO altered SELECT i, i, i FROM generate_series(1, 1000) i"
	const blocks = "CREATE TABLE altered AS SELECT i AS id, i AS v, i::text AS w FROM generate_series(1, 1000) i"
	own := []job.Column{{Name: "id", Type: "Int32"}, {Name: "v", Type: "Nullable(Int32)"}}
	keyedtest.Alterations(t, database, "DROP TABLE IF EXISTS altered CASCADE; DROP TABLE IF EXISTS altered_away", table, own, map[string]keyedtest.Altered{
		"type":            {Alter: "ALTER TABLE altered ALTER v TYPE int8", Want: source.ErrChanged},
		"not null":        {Alter: "ALTER TABLE altered ALTER v SET NOT NULL", Want: source.ErrChanged},
		"column dropped":  {Alter: "ALTER TABLE altered DROP v", Want: source.ErrChanged},
		"column renamed":  {Alter: "ALTER TABLE altered RENAME v TO x", Want: source.ErrChanged},
		"other column":    {Alter: "ALTER TABLE altered DROP w; ALTER TABLE altered ADD x int4 DEFAULT random()"},
		"key dropped":     {Alter: "ALTER TABLE altered DROP CONSTRAINT altered_pkey"},
		"dropped":         {Alter: "DROP TABLE altered", Want: source.ErrGone},
		"renamed":         {Alter: "ALTER TABLE altered RENAME TO altered_away", Want: source.ErrGone},
		"rewritten":       {Make: blocks, Alter: "ALTER TABLE altered ADD x int4 DEFAULT random()", Want: source.ErrChanged, Replanned: true},
		"truncated":       {Make: blocks, Alter: "TRUNCATE altered", Want: source.ErrChanged, Replanned: true},
		"made anew":       {Make: blocks, Alter: "DROP TABLE altered; " + blocks, Want: source.ErrChanged, Replanned: true},
		"rows added":      {Make: blocks, Alter: "INSERT INTO altered SELECT i, i, i FROM generate_series(1, 1000) i"},
		"query's table":   {Alter: "DROP TABLE altered", Config: keyed.Config{Query: "SELECT * FROM altered"}, Want: source.ErrGone},
		"query's column":  {Alter: "ALTER TABLE altered DROP v", Config: keyed.Config{Query: "SELECT id, v FROM altered"}, Want: source.ErrChanged},
		"query's type":    {Alter: "ALTER TABLE altered ALTER v TYPE int8", Config: keyed.Config{Query: "SELECT * FROM altered"}, Want: source.ErrChanged},
		"query by a key":  {Alter: "DROP TABLE altered", Config: keyed.Config{Query: "SELECT * FROM altered", Key: []string{"id"}}, Want: source.ErrGone},
		"nothing":         {Alter: "SELECT 1"},
		"view, its table": {Make: table + "; CREATE VIEW altered_view AS SELECT * FROM altered", Alter: "DROP TABLE altered CASCADE", Config: keyed.Config{Table: "altered_view"}, Want: source.ErrGone},
	})
}

// A transaction that began before a table was rewritten sees no row of it.
func TestRewrittenThisMoment(t *testing.T) {
	exec(t, `CREATE TABLE moment (id int4 PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE moment_0 PARTITION OF moment FOR VALUES FROM (0) TO (9); INSERT INTO moment VALUES (1)`)
	s, err := connect(t.Context(), keyed.Config{URL: db.URL("postgres", ""), Table: "moment"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, r := s.(*session), &relation{}
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
	keyedtest.Cancel(t, database,
		"SELECT id, CASE WHEN id > 5000 THEN pg_sleep(60)::text END AS s, repeat('x', 100) AS x FROM generate_series(1, 6000) id",
		"SELECT pg_sleep(60)::text AS s",
		"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()")
}

// The first text may begin with what looks like a byte order mark.
func TestMark(t *testing.T) {
	keyedtest.Mark(t, database, sourcetest.Strict{Engine: eng}, func(text string) string { return fmt.Sprintf("SELECT '%s' AS v", text) })
}
