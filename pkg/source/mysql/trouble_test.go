package mysql

import (
	"fmt"
	"io"
	"net"
	"net/url"
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
	exec(t, `CREATE TABLE mistaken (id int PRIMARY KEY, v text); CREATE SEQUENCE numbers;
CREATE USER guarded IDENTIFIED BY '`+password+`'; GRANT SELECT ON mysql.help_topic TO guarded; CREATE TABLE permitted (id int); GRANT SELECT ON test.permitted TO guarded;
CREATE USER crowded WITH MAX_CONNECTIONS_PER_HOUR 1; GRANT SELECT ON test.* TO crowded`)
	sourcetest.Columns(t, mustNew(t, Config{URL: db.URL("crowded", ""), Table: "mistaken"}))
	none := keyed.Config{URL: strings.Replace(db.URL("root", ""), "/test?", "/nowhere?", 1), Table: "mistaken"}
	away := keyed.Config{URL: "mysql://root:hunter2%40secret@127.0.0.1:1/test", Table: "mistaken"}
	bare := keyed.Config{URL: relay(t, db.URL("root", ""), "").String() + "?tls=true", Table: "mistaken"}
	keyedtest.Mistakes(t, database, map[string]keyedtest.Mistake{
		"right password": {Config: keyed.Config{URL: db.URL("guarded", password), Query: "SELECT 1 AS n"}},
		"wrong password": {Config: keyed.Config{URL: db.URL("guarded", password+"!"), Query: "SELECT 1 AS n"}, Class: job.Permanent, Text: "look at the user and password of the url"},
		"no such user":   {Config: keyed.Config{URL: db.URL("somebody", password), Query: "SELECT 1 AS n"}, Class: job.Permanent, Text: "look at the user and password of the url"},
		"no database":    {Config: none, Class: job.Permanent, Text: "Unknown database 'nowhere'"},
		"no server":      {Config: away, Class: job.Retry, Text: "127.0.0.1"},
		"no TLS":         {Config: bare, Class: job.Permanent, Text: "TLS"},
		"TCP":            {Config: keyed.Config{URL: relay(t, db.URL("root", ""), "").String(), Table: "mistaken"}},
		"too many":       {Config: keyed.Config{URL: db.URL("crowded", ""), Query: "SELECT 1 AS n"}, Class: job.SlowDown, Text: "limits.lease"},
		"no right":       {Config: keyed.Config{URL: db.URL("guarded", password), Table: "mistaken"}, Class: job.Permanent, Text: "grant SELECT"},
		"no table":       {Config: keyed.Config{Table: "Mistaken"}, Class: job.Permanent, Text: "there is no such table"},
		"no such place":  {Config: keyed.Config{Table: "elsewhere.mistaken"}, Class: job.Permanent, Text: "there is no such table"},
		"no key column":  {Config: keyed.Config{Table: "mistaken", Key: []string{"nr"}}, Class: job.Permanent, Text: `no column "nr"`},
		"no key":         {Config: keyed.Config{Query: "SELECT ST_PointFromText('POINT(1 2)') AS p", Key: []string{"p"}}, Class: job.Permanent, Text: "can not be a key"},
		"no column":      {Config: keyed.Config{Table: "mistaken", Columns: []job.Column{{Name: "w", Type: "String"}}}, Class: job.Permanent, Text: "it has id, v"},
		"where":          {Config: keyed.Config{Table: "mistaken", Where: "w = 1"}, Class: job.Permanent, Text: "Unknown column 'w'"},
		"where ends":     {Config: keyed.Config{Table: "mistaken", Where: "id > 1 -- nothing"}},
		"broken where":   {Config: keyed.Config{Table: "mistaken", Where: "id >"}, Class: job.Permanent, Text: "SQL syntax"},
		"broken query":   {Config: keyed.Config{Query: "SELECT FROM WHERE"}, Class: job.Permanent, Text: "SQL syntax"},
		"two statements": {Config: keyed.Config{Query: "SELECT 1 AS n; SELECT 2 AS n"}, Class: job.Permanent, Text: "SQL syntax"},
		"same name":      {Config: keyed.Config{Query: "SELECT 1 AS n, 2 AS n"}, Class: job.Permanent, Text: "Duplicate column name 'n'"},
		"writing":        {Config: keyed.Config{Query: "SELECT NEXTVAL(numbers) AS n"}, Class: job.Permanent, Text: "must not write"},
	})
}

// What fails in the middle of a chunk is an error, and never its end.
func TestBreaksOff(t *testing.T) {
	exec(t, `CREATE TABLE broken (id int PRIMARY KEY, v text); INSERT INTO broken SELECT seq, concat(seq, repeat('x', 1000)) FROM seq_1_to_20000;
CREATE USER hasty WITH MAX_STATEMENT_TIME 0.3; GRANT SELECT ON test.* TO hasty`)
	const reads = "SELECT id FROM information_schema.processlist WHERE info LIKE '%/* drayage%broken%' AND id <> CONNECTION_ID()"
	kill := func(how string) func(t *testing.T) {
		return func(t *testing.T) { exec(t, fmt.Sprintf("%s %s", how, exec(t, reads))) }
	}
	keyedtest.BreaksOff(t, database, map[string]keyedtest.Broken{
		"killed":          {Config: keyed.Config{Table: "broken"}, Class: job.Retry, Then: kill("KILL CONNECTION")},
		"cancelled there": {Config: keyed.Config{Table: "broken"}, Class: job.Retry, Text: "interrupted", Then: kill("KILL QUERY")},
		"network":         {Config: keyed.Config{URL: relay(t, db.URL("root", ""), "19999x").String(), Table: "broken"}, Class: job.Retry},
		"out of range":    {Config: keyed.Config{Query: "SELECT id, 9223372036854775807 + (id = 19999) AS v, v AS w FROM broken ORDER BY id"}, Class: job.Permanent, Text: "out of range"},
		"statement":       {Config: keyed.Config{URL: db.URL("hasty", ""), Query: "SELECT IF(id = 900, SLEEP(60), id) AS n, v FROM broken ORDER BY id"}, Class: job.TooBig, Text: "max_statement_time"},
	})
}

// A table that is not the one that was planned is not read.
func TestAltered(t *testing.T) {
	const table = "CREATE TABLE altered (id varchar(20) PRIMARY KEY, v int, w text); INSERT INTO altered SELECT seq, seq, seq FROM seq_1_to_1000; CREATE VIEW altered_view AS SELECT * FROM altered"
	own := []job.Column{{Name: "v", Type: "Nullable(Int32)"}}
	keyedtest.Alterations(t, database, "DROP VIEW IF EXISTS altered_view; DROP TABLE IF EXISTS altered, altered_away", table, own, map[string]keyedtest.Altered{
		"type":           {Alter: "ALTER TABLE altered MODIFY v bigint", Want: source.ErrChanged},
		"not null":       {Alter: "ALTER TABLE altered MODIFY v int NOT NULL", Want: source.ErrChanged},
		"column dropped": {Alter: "ALTER TABLE altered DROP v", Want: source.ErrChanged},
		"column renamed": {Alter: "ALTER TABLE altered RENAME COLUMN v TO x", Want: source.ErrChanged},
		"other column":   {Alter: "ALTER TABLE altered DROP w, ADD x int DEFAULT 1"},
		"key dropped":    {Alter: "ALTER TABLE altered DROP PRIMARY KEY"},
		"key's order":    {Alter: "ALTER TABLE altered MODIFY id varchar(20) COLLATE utf8mb4_bin", Want: source.ErrChanged},
		"key's type":     {Alter: "ALTER TABLE altered MODIFY id int", Want: source.ErrChanged},
		"key renamed":    {Alter: "ALTER TABLE altered RENAME COLUMN id TO nr", Want: source.ErrChanged},
		"dropped":        {Alter: "DROP VIEW altered_view; DROP TABLE altered", Want: source.ErrGone},
		"renamed":        {Alter: "RENAME TABLE altered TO altered_away", Want: source.ErrGone},
		"rows added":     {Alter: "INSERT INTO altered SELECT seq, seq, seq FROM seq_1001_to_2000"},
		"query's table":  {Alter: "DROP TABLE altered", Config: keyed.Config{Query: "SELECT * FROM altered"}, Want: source.ErrGone},
		"query's column": {Alter: "ALTER TABLE altered DROP v", Config: keyed.Config{Query: "SELECT id, v FROM altered"}, Want: source.ErrChanged},
		"query's type":   {Alter: "ALTER TABLE altered MODIFY v bigint", Config: keyed.Config{Query: "SELECT * FROM altered"}, Want: source.ErrChanged},
		"query by a key": {Alter: "DROP TABLE altered", Config: keyed.Config{Query: "SELECT * FROM altered", Key: []string{"id"}}, Want: source.ErrGone},
		"nothing":        {Alter: "SELECT 1"},
		"view's table":   {Alter: "DROP TABLE altered", Config: keyed.Config{Table: "altered_view"}, Want: source.ErrChanged},
		"view":           {Alter: "DROP VIEW altered_view", Config: keyed.Config{Table: "altered_view"}, Want: source.ErrGone},
	})
}

// relay makes a server reachable over TCP that listens on a socket, and returns
// its address. It breaks each connection off once that has sent a text; "" for
// never.
func relay(t *testing.T, server, until string) *url.URL {
	t.Helper()
	own, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("unix", own.Query().Get("socket"))
				if err != nil {
					return
				}
				defer server.Close()
				go func() { _, _ = io.Copy(server, client); server.Close() }()
				b, seen := make([]byte, 32<<10), ""
				for {
					n, err := server.Read(b)
					if seen += string(b[:n]); until != "" && strings.Contains(seen, until) {
						return
					}
					if seen = seen[max(0, len(seen)-len(until)):]; err != nil {
						return
					}
					if _, err := client.Write(b[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return &url.URL{Scheme: "mysql", User: own.User, Host: l.Addr().String(), Path: own.Path}
}

// A server that restarts costs an attempt; then the same chunk is read, and the
// plan goes on.
func TestRestarted(t *testing.T) {
	exec(t, "CREATE TABLE restarted (id int PRIMARY KEY, v text); INSERT INTO restarted SELECT seq, repeat('x', 1000) FROM seq_1_to_20000")
	s := mustNew(t, Config{Table: "restarted", Rows: 10_000})
	columns := sourcetest.Columns(t, s)
	chunks, err := sourcetest.Plan(t, s, nil, columns)
	if err != nil || len(chunks) != 2 {
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
	if err := db.Stop(); err != nil {
		t.Fatal(err)
	}
	_, down := sourcetest.Chunk(t, s, chunks[0].Input, columns)
	if err := db.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if down == nil || job.ClassOf(down) != job.Retry {
		t.Errorf("without a server it is %s: %v", job.ClassOf(down), down)
	}
	if _, err := io.Copy(io.Discard, in.Reader); err == nil || job.ClassOf(err) != job.Retry {
		t.Errorf("in the middle it is %s: %v", job.ClassOf(err), err)
	}
	if text, err := sourcetest.Chunk(t, s, chunks[0].Input, columns); err != nil || strings.Count(text, "\n") != 10_000 {
		t.Errorf("%d rows, %v", strings.Count(text, "\n"), err)
	}
	if rest, err := sourcetest.Plan(t, s, chunks[0].Cursor, columns); err != nil || len(rest) != 1 || string(rest[0].Input) != string(chunks[1].Input) {
		t.Errorf("the plan goes on with %v, %v", rest, err)
	}
}

// What the server and the user are set to is nothing to the rows.
func TestSession(t *testing.T) {
	exec(t, `SET @@global.net_write_timeout = 1, @@global.sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH', @@global.time_zone = '+05:00', @@global.sql_select_limit = 2`)
	defer exec(t, "SET @@global.net_write_timeout = DEFAULT, @@global.sql_mode = DEFAULT, @@global.time_zone = DEFAULT, @@global.sql_select_limit = DEFAULT")
	exec(t, "CREATE TABLE session (id int PRIMARY KEY, v char(5), at timestamp); SET @@sql_select_limit = DEFAULT; INSERT INTO session SELECT seq, 'a', '2026-01-01 05:00:00' FROM seq_1_to_3")
	rows, _ := read(t, Config{Table: "session"}, "SELECT id, v, toString(at) FROM chunk")
	if fmt.Sprint(rows) != "[[1 a 2026-01-01 00:00:00] [2 a 2026-01-01 00:00:00] [3 a 2026-01-01 00:00:00]]" {
		t.Errorf("the rows are %v", rows)
	}
	rows, _ = read(t, Config{Query: "SELECT @@net_write_timeout AS w, @@sql_mode AS m, @@tx_isolation AS i, @@character_set_results AS c, 'a\\tb' AS s"}, "SELECT * FROM chunk")
	if fmt.Sprint(rows) != "[[600  REPEATABLE-READ utf8mb4 a\tb]]" {
		t.Errorf("the settings are %q", rows)
	}
	if _, err := mustNew(t, Config{Query: "INSERT INTO session VALUES (4, 'x', NOW())"}).Columns(t.Context(), nil); err == nil || job.ClassOf(err) != job.Permanent {
		t.Errorf("a statement that writes: %v", err)
	}
}

// A transaction that began before a table was altered can not read it.
func TestAlteredThisMoment(t *testing.T) {
	exec(t, "CREATE TABLE moment (id int PRIMARY KEY); INSERT INTO moment VALUES (1)")
	c, err := connect(t.Context(), keyed.Config{URL: db.URL("root", ""), Table: "moment"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exec(t, "ALTER TABLE moment ADD x int DEFAULT 7, ALGORITHM = COPY")
	if _, err = c.Rows("reading", "SELECT * FROM moment"); err == nil || job.ClassOf(err) != job.Retry {
		t.Errorf("the error is %v", err)
	}
}

// What is cancelled ends at once, here and in the server.
func TestCancel(t *testing.T) {
	keyedtest.Cancel(t, database,
		"SELECT seq, IF(seq > 5000, SLEEP(60), 0) AS s, repeat('x', 100) AS x FROM seq_1_to_6000",
		"SELECT SLEEP(60) AS s FROM seq_1_to_1",
		"SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP(60)%' AND id <> CONNECTION_ID()")
}

// The first text may begin with what looks like a byte order mark.
func TestMark(t *testing.T) {
	keyedtest.Mark(t, database, sourcetest.Strict{Engine: eng}, func(text string) string { return fmt.Sprintf("SELECT CONVERT(x'%X' USING utf8mb4) AS v", text) })
}
