package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
)

// password stands in the addresses of these tests.
const password = "hunter2@secret"

func TestMistakes(t *testing.T) {
	exec(t, `CREATE TABLE mistaken (id int PRIMARY KEY, v text); CREATE SEQUENCE numbers;
CREATE USER guarded IDENTIFIED BY '`+password+`'; GRANT SELECT ON mysql.help_topic TO guarded; CREATE TABLE permitted (id int); GRANT SELECT ON test.permitted TO guarded;
CREATE USER crowded WITH MAX_CONNECTIONS_PER_HOUR 1; GRANT SELECT ON test.* TO crowded`)
	sourcetest.Columns(t, mustNew(t, Config{URL: db.URL("crowded", ""), Table: "mistaken"}))
	none := Config{URL: strings.Replace(db.URL("root", ""), "/test?", "/nowhere?", 1), Table: "mistaken"}
	away := Config{URL: "mysql://root:hunter2%40secret@127.0.0.1:1/test", Table: "mistaken"}
	bare := Config{URL: relay(t, db.URL("root", ""), "").String() + "?tls=true", Table: "mistaken"}
	for name, tt := range map[string]struct {
		Config
		class job.Class
		text  string
	}{
		"right password": {Config{URL: db.URL("guarded", password), Query: "SELECT 1 AS n"}, 0, ""},
		"wrong password": {Config{URL: db.URL("guarded", password+"!"), Query: "SELECT 1 AS n"}, job.Permanent, "look at the user and password of the url"},
		"no such user":   {Config{URL: db.URL("somebody", password), Query: "SELECT 1 AS n"}, job.Permanent, "look at the user and password of the url"},
		"no database":    {none, job.Permanent, "Unknown database 'nowhere'"},
		"no server":      {away, job.Retry, "127.0.0.1"},
		"no TLS":         {bare, job.Permanent, "TLS"},
		"TCP":            {Config{URL: relay(t, db.URL("root", ""), "").String(), Table: "mistaken"}, 0, ""},
		"too many":       {Config{URL: db.URL("crowded", ""), Query: "SELECT 1 AS n"}, job.SlowDown, "limits.lease"},
		"no right":       {Config{URL: db.URL("guarded", password), Table: "mistaken"}, job.Permanent, "grant SELECT"},
		"no table":       {Config{Table: "Mistaken"}, job.Permanent, "there is no such table"},
		"no such place":  {Config{Table: "elsewhere.mistaken"}, job.Permanent, "there is no such table"},
		"no key column":  {Config{Table: "mistaken", Key: []string{"nr"}}, job.Permanent, `no column "nr"`},
		"no key":         {Config{Query: "SELECT ST_PointFromText('POINT(1 2)') AS p", Key: []string{"p"}}, job.Permanent, "can not be a key"},
		"no column":      {Config{Table: "mistaken", Columns: []job.Column{{Name: "w", Type: "String"}}}, job.Permanent, "it has id, v"},
		"where":          {Config{Table: "mistaken", Where: "w = 1"}, job.Permanent, "Unknown column 'w'"},
		"where ends":     {Config{Table: "mistaken", Where: "id > 1 -- nothing"}, 0, ""},
		"broken where":   {Config{Table: "mistaken", Where: "id >"}, job.Permanent, "SQL syntax"},
		"broken query":   {Config{Query: "SELECT FROM WHERE"}, job.Permanent, "SQL syntax"},
		"two statements": {Config{Query: "SELECT 1 AS n; SELECT 2 AS n"}, job.Permanent, "SQL syntax"},
		"same name":      {Config{Query: "SELECT 1 AS n, 2 AS n"}, job.Permanent, "Duplicate column name 'n'"},
		"writing":        {Config{Query: "SELECT NEXTVAL(numbers) AS n"}, job.Permanent, "must not write"},
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

// What fails in the middle of a chunk is an error, and never its end.
func TestBreaksOff(t *testing.T) {
	exec(t, `CREATE TABLE broken (id int PRIMARY KEY, v text); INSERT INTO broken SELECT seq, concat(seq, repeat('x', 1000)) FROM seq_1_to_20000;
CREATE USER hasty WITH MAX_STATEMENT_TIME 0.3; GRANT SELECT ON test.* TO hasty`)
	const reads = "SELECT id FROM information_schema.processlist WHERE info LIKE '%/* drayage%broken%' AND id <> CONNECTION_ID()"
	for name, tt := range map[string]struct {
		Config
		class job.Class
		text  string
		kill  string
	}{
		"killed":          {Config{Table: "broken"}, job.Retry, "", "KILL CONNECTION"},
		"cancelled there": {Config{Table: "broken"}, job.Retry, "interrupted", "KILL QUERY"},
		"network":         {Config{URL: relay(t, db.URL("root", ""), "19999x").String(), Table: "broken"}, job.Retry, "", ""},
		"out of range":    {Config{Query: "SELECT id, 9223372036854775807 + (id = 19999) AS v, v AS w FROM broken ORDER BY id"}, job.Permanent, "out of range", ""},
		"statement":       {Config{URL: db.URL("hasty", ""), Query: "SELECT IF(id = 900, SLEEP(60), id) AS n, v FROM broken ORDER BY id"}, job.TooBig, "max_statement_time", ""},
	} {
		t.Run(name, func(t *testing.T) {
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
			if tt.kill != "" {
				exec(t, fmt.Sprintf("%s %s", tt.kill, exec(t, reads)))
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

// A table that is not the one that was planned is not read.
func TestAltered(t *testing.T) {
	const table = "CREATE TABLE altered (id varchar(20) PRIMARY KEY, v int, w text); INSERT INTO altered SELECT seq, seq, seq FROM seq_1_to_1000"
	own := []job.Column{{Name: "v", Type: "Nullable(Int32)"}}
	for name, tt := range map[string]struct {
		alter string
		Config
		want error
	}{
		"type":           {"ALTER TABLE altered MODIFY v bigint", Config{}, source.ErrChanged},
		"not null":       {"ALTER TABLE altered MODIFY v int NOT NULL", Config{}, source.ErrChanged},
		"column dropped": {"ALTER TABLE altered DROP v", Config{}, source.ErrChanged},
		"column renamed": {"ALTER TABLE altered RENAME COLUMN v TO x", Config{}, source.ErrChanged},
		"other column":   {"ALTER TABLE altered DROP w, ADD x int DEFAULT 1", Config{}, nil},
		"key dropped":    {"ALTER TABLE altered DROP PRIMARY KEY", Config{}, nil},
		"key's order":    {"ALTER TABLE altered MODIFY id varchar(20) COLLATE utf8mb4_bin", Config{}, source.ErrChanged},
		"key's type":     {"ALTER TABLE altered MODIFY id int", Config{}, source.ErrChanged},
		"key renamed":    {"ALTER TABLE altered RENAME COLUMN id TO nr", Config{}, source.ErrChanged},
		"dropped":        {"DROP VIEW altered_view; DROP TABLE altered", Config{}, source.ErrGone},
		"renamed":        {"RENAME TABLE altered TO altered_away", Config{}, source.ErrGone},
		"rows added":     {"INSERT INTO altered SELECT seq, seq, seq FROM seq_1001_to_2000", Config{}, nil},
		"query's table":  {"DROP TABLE altered", Config{Query: "SELECT * FROM altered"}, source.ErrGone},
		"query's column": {"ALTER TABLE altered DROP v", Config{Query: "SELECT id, v FROM altered"}, source.ErrChanged},
		"query's type":   {"ALTER TABLE altered MODIFY v bigint", Config{Query: "SELECT * FROM altered"}, source.ErrChanged},
		"query by a key": {"DROP TABLE altered", Config{Query: "SELECT * FROM altered", Key: []string{"id"}}, source.ErrGone},
		"nothing":        {"SELECT 1", Config{}, nil},
		"view's table":   {"DROP TABLE altered", Config{Table: "altered_view"}, source.ErrChanged},
		"view":           {"DROP VIEW altered_view", Config{Table: "altered_view"}, source.ErrGone},
	} {
		t.Run(name, func(t *testing.T) {
			exec(t, "DROP VIEW IF EXISTS altered_view; DROP TABLE IF EXISTS altered, altered_away; "+table+"; CREATE VIEW altered_view AS SELECT * FROM altered")
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
			if tt.want != nil && len(chunks) > 1 {
				if _, err = sourcetest.Plan(t, s, chunks[0].Cursor, own); !errors.Is(err, tt.want) {
					t.Errorf("planning on says %v", err)
				}
			}
		})
	}
}

// A transaction that began before a table was altered can not read it.
func TestAlteredThisMoment(t *testing.T) {
	exec(t, "CREATE TABLE moment (id int PRIMARY KEY); INSERT INTO moment VALUES (1)")
	c, err := mustNew(t, Config{Table: "moment"}).connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	exec(t, "ALTER TABLE moment ADD x int DEFAULT 7, ALGORITHM = COPY")
	if _, err = c.rows("reading", "SELECT * FROM moment"); err == nil || job.ClassOf(err) != job.Retry {
		t.Errorf("the error is %v", err)
	}
}

// What is cancelled ends at once, here and in the server.
func TestCancel(t *testing.T) {
	late := mustNew(t, Config{Query: "SELECT seq, IF(seq > 5000, SLEEP(60), 0) AS s, repeat('x', 100) AS x FROM seq_1_to_6000"})
	never := mustNew(t, Config{Query: "SELECT SLEEP(60) AS s FROM seq_1_to_1"})
	inputs := map[*Source]json.RawMessage{}
	for _, s := range []*Source{late, never} {
		chunks, err := sourcetest.Plan(t, s, nil, sourcetest.Columns(t, s))
		if err != nil || len(chunks) != 1 {
			t.Fatalf("%d chunks, %v", len(chunks), err)
		}
		inputs[s] = chunks[0].Input
	}
	for name, tt := range map[string]struct {
		s   *Source
		end func(stop func(), in *source.Input)
	}{
		"context": {late, func(stop func(), in *source.Input) { stop(); _, _ = io.Copy(io.Discard, in.Reader); in.Close() }},
		"close":   {late, func(_ func(), in *source.Input) { in.Close() }},
		"while it waits": {late, func(_ func(), in *source.Input) {
			ended := make(chan struct{})
			go func() { defer close(ended); _, _ = io.Copy(io.Discard, in.Reader) }()
			in.Close()
			<-ended
		}},
		"before a row": {never, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var begun time.Time
			if tt.end == nil {
				time.AfterFunc(100*time.Millisecond, func() { begun = time.Now(); stop() })
				if _, err := chunkOf(ctx, tt.s, inputs[tt.s]); !errors.Is(err, context.Canceled) {
					t.Errorf("it ends with %v", err)
				}
			} else {
				in, err := tt.s.Open(ctx, inputs[tt.s], sourcetest.Columns(t, tt.s))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(in.Reader, make([]byte, 100_000)); err != nil {
					t.Fatal(err)
				}
				begun = time.Now()
				tt.end(stop, in)
			}
			if took := time.Since(begun); took > goodbye {
				t.Errorf("it took %s", took)
			}
			if n := exec(t, "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP(60)%' AND id <> CONNECTION_ID()"); n != "0" {
				t.Errorf("%s statements go on", n)
			}
		})
	}
}

// chunkOf reads a chunk within ctx.
func chunkOf(ctx context.Context, s *Source, input json.RawMessage) (int64, error) {
	columns, err := s.Columns(ctx, nil)
	if err != nil {
		return 0, err
	}
	in, err := s.Open(ctx, input, columns)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, in.Reader)
	return n, errors.Join(err, in.Close())
}

// The first text may begin with what looks like a byte order mark.
func TestMark(t *testing.T) {
	for _, text := range []string{"\ufeff", "\ufeff\ufeffx", "\\xEF\ufeff"} {
		rows, rejects := read(t, Config{Query: fmt.Sprintf("SELECT CONVERT(x'%X' USING utf8mb4) AS v", text)}, "SELECT hex(v) FROM chunk")
		if len(rejects) > 0 || fmt.Sprint(rows) != fmt.Sprintf("[[%X]]", text) {
			t.Errorf("%X is read as %v %v", text, rows, rejects)
		}
	}
}
