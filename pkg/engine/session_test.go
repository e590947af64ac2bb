package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"drayage/pkg/job"
)

func TestSettingsDoNotLeak(t *testing.T) {
	p, db := use(t)
	c := p.Client()
	for _, s := range []Statement{
		{SQL: "SET max_block_size = 77"},
		{SQL: "USE " + db},
		{SQL: "SELECT 1", Database: db, Settings: map[string]string{"max_block_size": "77"}},
		{SQL: "SELECT throwIf(1)", Settings: map[string]string{"max_block_size": "77"}},
		{SQL: "CREATE TEMPORARY TABLE temporary (a Int32)"},
	} {
		_, _ = c.Exec(t.Context(), s)
		if got := text(t, c, "SELECT getSetting('max_block_size'), currentDatabase(), (SELECT count() FROM system.tables WHERE name = 'temporary' AND is_temporary)"); got != "65409\tdefault\t0" {
			t.Errorf("after %s: %s", s.SQL, got)
		}
	}
}

func TestNamedSessions(t *testing.T) {
	p, db := use(t)
	in := func(session, sql string, more ...string) answer {
		return curl(t, p, "POST", with(append(more, "session_id", session)...), nil, strings.NewReader(sql))
	}
	in("a", "CREATE TEMPORARY TABLE mine (a Int32)")
	in("a", "INSERT INTO mine FORMAT CSV\n1\n2\n")
	in("a", "SET max_block_size = 77")
	in("a", "SELECT throwIf(1)")
	in("a", "SELECT 1", "max_block_size", "5", "database", db)
	if got := in("a", "SELECT count(), getSetting('max_block_size'), currentDatabase() FROM mine").body; got != "2\t77\tdefault\n" {
		t.Errorf("the session: %q", got)
	}
	if got := in("b", "SELECT count() FROM mine"); got.status != 404 {
		t.Errorf("another session: %+v", got)
	}
	if got := in("c", "SELECT 1", "session_check", "1"); got.header.Get("X-ClickHouse-Exception-Code") != "372" {
		t.Errorf("a session that must exist: %+v", got)
	}
	if got := in("d", "SELECT 1", "session_timeout", "99999"); got.header.Get("X-ClickHouse-Exception-Code") != "374" {
		t.Errorf("a session for too long: %+v", got)
	}
	slow := make(chan answer, 1)
	go func() { slow <- in("a", "SELECT sleep(2)", "query_id", "slow-session") }()
	eventually(t, "the slow query", func() bool { return running(t, p.Client(), "slow-session") })
	if got := in("a", "SELECT 1"); got.header.Get("X-ClickHouse-Exception-Code") != "373" {
		t.Errorf("a busy session: %+v", got)
	}
	run(t, p.Client(), "KILL QUERY WHERE query_id = 'slow-session' SYNC")
	if got := <-slow; got.header.Get("X-ClickHouse-Exception-Code") != "394" {
		t.Errorf("a killed query: %+v", got)
	}
}

func TestConcurrentRequests(t *testing.T) {
	p, db := use(t)
	c := p.Client()
	run(t, c, "CREATE TABLE "+db+".t (a Int32, worker Int32) ENGINE = MergeTree ORDER BY a")
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			for i := range 5 {
				if _, err := c.Exec(t.Context(), Statement{SQL: "INSERT INTO t FORMAT CSV", Database: db, Body: strings.NewReader(fmt.Sprintf("%d,%d\n", i, w))}); err != nil {
					t.Errorf("insert: %v", err)
				}
				size := fmt.Sprint(100 + w)
				out, err := output(t.Context(), c, Statement{SQL: "SELECT getSetting('max_block_size'), count() FROM t WHERE worker = {w:Int32}", Database: db,
					Settings: map[string]string{"max_block_size": size}, Params: map[string]string{"w": fmt.Sprint(w)}})
				if want := fmt.Sprintf("%s\t%d", size, i+1); err != nil || out != want {
					t.Errorf("worker %d: %q, %v, want %q", w, out, err, want)
				}
			}
		})
	}
	workers.Wait()
}

func TestSameQueryIDTwice(t *testing.T) {
	p, _ := use(t)
	c := p.Client()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error, 1)
	go func() {
		_, err := c.Exec(ctx, Statement{SQL: "SELECT sleepEachRow(0.5) FROM numbers(20) SETTINGS max_block_size = 1", QueryID: "twin"})
		first <- err
	}()
	eventually(t, "the first", func() bool { return running(t, c, "twin") })
	_, err := c.Exec(t.Context(), Statement{SQL: "SELECT 1", QueryID: "twin"})
	var e *Exception
	if !errors.As(err, &e) || e.Code != 216 || job.ClassOf(err) != job.Retry {
		t.Errorf("the second: %v", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	eventually(t, "the end of the first", func() bool { return !running(t, c, "twin") })
}

// TestClientThatLeaves goes away in the middle of a large result.
func TestClientThatLeaves(t *testing.T) {
	p, _ := use(t)
	c := p.Client()
	body, err := c.Query(t.Context(), Statement{SQL: "SELECT number, repeat('x', 100) FROM numbers(10000000000)", QueryID: "leaver"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, body, 10<<20); err != nil {
		t.Fatal(err)
	}
	if !running(t, c, "leaver") {
		t.Error("the query does not run")
	}
	body.Close()
	eventually(t, "the end of the query", func() bool { return !running(t, c, "leaver") })
}

func TestMaxExecutionTime(t *testing.T) {
	p, _ := use(t)
	r, w, err := widePipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	time.AfterFunc(2*time.Second, func() { w.Close() })
	// The engine itself does not look at the clock while a pipe is silent.
	_, err = p.Client().Exec(t.Context(), Statement{SQL: "SELECT count() FROM file('" + procPath(r) + "', CSV, 'a Int32')", Settings: map[string]string{"max_execution_time": "0.5"}})
	var e *Exception
	if !errors.As(err, &e) || e.Code != 159 || job.ClassOf(err) != job.TooBig {
		t.Errorf("error %v", err)
	}
}

func TestLimits(t *testing.T) {
	p := start(t, Config{MaxMemory: 600 << 20, MaxThreads: 1, MaxConnections: 2})
	c := p.Client()
	if got := text(t, c, "SELECT getSetting('max_threads'), (SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage')"); got != "1\t629145600" {
		t.Errorf("threads and memory: %s", got)
	}
	_, err := c.Exec(t.Context(), Statement{SQL: "SELECT groupArray(number) FROM numbers(1000000000) FORMAT Null"})
	var e *Exception
	if !errors.As(err, &e) || e.Code != 241 || job.ClassOf(err) != job.TooBig {
		t.Errorf("too much memory: %v", err)
	}
	_, err = c.Exec(t.Context(), Statement{SQL: "SELECT groupArray(number) FROM numbers(1000000000)", Settings: map[string]string{"max_memory_usage": "100000000"}})
	if !errors.As(err, &e) || e.Code != 241 {
		t.Errorf("too much memory for one query: %v", err)
	}
	// More at once than there are slots: they wait for each other.
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			if _, err := c.Exec(t.Context(), Statement{SQL: "SELECT sleep(0.1)"}); err != nil {
				t.Errorf("one of many: %v", err)
			}
		})
	}
	all.Wait()
	if p.Restarts() != 0 {
		t.Errorf("%d restarts", p.Restarts())
	}
}

// TestResultsAreStreamed reads a result much larger than the engine may hold.
func TestResultsAreStreamed(t *testing.T) {
	p := start(t, Config{MaxMemory: 400 << 20})
	for _, format := range []string{"JSON", "Native"} {
		body, err := p.Client().Query(t.Context(), Statement{SQL: "SELECT number, repeat('x', 200) AS s FROM numbers(1000000) FORMAT " + format})
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, body)
		body.Close()
		if err != nil || n < 200_000_000 {
			t.Errorf("%s: %d bytes, %v", format, n, err)
		}
	}
	if u := p.Usage(); u.MaxRSS > 600<<20 {
		t.Errorf("the engine took %d MiB", u.MaxRSS>>20)
	}
}

// TestGarbage throws random and mutated bytes at the engine. Anything may come
// back but a crash. ORC is not packed with zstd: TestGuard has what that can do.
func TestGarbage(t *testing.T) {
	p, db := use(t)
	c := p.Client()
	run(t, c, "CREATE TABLE "+db+".t (a Int32, b String, c Array(Nullable(DateTime))) ENGINE = MergeTree ORDER BY a")
	run(t, c, "INSERT INTO "+db+".t SELECT number, 'x', [toDateTime(1700000000), NULL] FROM numbers(50)")
	before := p.Restarts()
	random := rand.New(rand.NewPCG(1, 2))
	for _, format := range strings.Fields(`CSV CSVWithNames TSV TSVWithNamesAndTypes TSKV Values JSONEachRow JSONCompactEachRow JSON JSONColumns
		BSONEachRow RowBinary RowBinaryWithNamesAndTypes Native Parquet Arrow ArrowStream ORC Avro MsgPack LineAsString Regexp RawBLOB Npy MySQLDump Form`) {
		good, err := output(t.Context(), c, Statement{SQL: "SELECT * FROM " + db + ".t FORMAT " + format, Settings: map[string]string{"output_format_orc_compression_method": "snappy"}})
		if err != nil {
			good = "1,x,[]\n" // a format for input only
		}
		for i := range 10 {
			data := []byte(good)
			if i%3 == 0 {
				data = make([]byte, random.IntN(3000))
			}
			for n := random.IntN(8); n >= 0 && len(data) > 0; n-- {
				switch at := random.IntN(len(data)); random.IntN(3) {
				case 0:
					data[at] = byte(random.IntN(256))
				case 1:
					data = data[:at]
				case 2:
					data = append(data[:at:at], data[random.IntN(len(data)):]...)
				}
			}
			_, err := c.Exec(t.Context(), Statement{SQL: "INSERT INTO t FORMAT " + format, Database: db, Body: strings.NewReader(string(data)), Settings: map[string]string{"max_memory_usage": "500000000", "format_regexp": "(.*)"}})
			var e *Exception
			if err != nil && !errors.As(err, &e) {
				t.Errorf("%s: %v", format, err)
			}
		}
	}
	words := strings.Fields(`SELECT INSERT INTO t FROM ( ) ' " ; -- /* */ VALUES FORMAT CSV input('a Int32') , * 1 WITH SETTINGS max_threads = {x:Int32} $$ WHERE numbers(3) file('/dev/null') JOIN UNION ALL EXPLAIN DESCRIBE`)
	for range 300 {
		var sql strings.Builder
		for n := random.IntN(9); n >= 0; n-- {
			sql.WriteString(words[random.IntN(len(words))] + " ")
		}
		_, err := c.Exec(t.Context(), Statement{SQL: sql.String(), Database: db})
		var e *Exception
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%s: %v", sql.String(), err)
		}
	}
	if p.Restarts() != before {
		t.Errorf("the engine crashed %d times", p.Restarts()-before)
	}
}

func TestMethodsOfHTTP(t *testing.T) {
	p, _ := use(t)
	for method, want := range map[string]int{http.MethodHead: 200, http.MethodOptions: 204, http.MethodDelete: 405} {
		if got := curl(t, p, method, nil, nil, nil); got.status != want {
			t.Errorf("%s: status %d, want %d", method, got.status, want)
		}
	}
}
