package clickhouse_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	nativeformat "drayage/pkg/native"
)

var columns = []job.Column{{Name: "id", Type: "UInt64"}, {Name: "s", Type: "String"}}

var names = []string{"id", "s", "_job", "_chunk"}

// target creates a table of id and s in the client's database.
func target(t *testing.T, c *clickhouse.Client, name string) clickhouse.Table {
	t.Helper()
	table := clickhouse.Table{Database: c.Database(), Name: name}
	err := c.Create(t.Context(), clickhouse.CreateSpec{Table: table, Columns: columns, Engine: "ENGINE = MergeTree ORDER BY id"})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// block is n rows, from an id on, of job j and a chunk.
func block(t *testing.T, c *clickhouse.Client, chunk, from, n int) []byte {
	t.Helper()
	return native(t, c, fmt.Sprintf("SELECT number AS id, toString(number) AS s, toLowCardinality('j') AS _job, toUInt64(%d) AS _chunk FROM numbers(%d, %d) SETTINGS max_block_size = 10000000", chunk, from, n))
}

func load(table clickhouse.Table, body []byte, token string) clickhouse.Load {
	return clickhouse.Load{Table: table, Columns: names, Body: bytes.NewReader(body), Length: int64(len(body)), Token: token}
}

func mustLoad(t *testing.T, c *clickhouse.Client, l clickhouse.Load) {
	t.Helper()
	if err := c.Load(t.Context(), l); err != nil {
		t.Fatal(err)
	}
}

func wantRows(t *testing.T, c *clickhouse.Client, table clickhouse.Table, want int) {
	t.Helper()
	if got := query(t, c, "SELECT count() FROM "+table.SQL()); got != fmt.Sprint(want) {
		t.Errorf("%s has %s rows, want %d", table, got, want)
	}
}

func wantClass(t *testing.T, err error, want ...job.Class) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if strings.Contains(err.Error(), password) || strings.Contains(err.Error(), url.QueryEscape(password)) {
		t.Errorf("the password is in %v", err)
	}
	for _, class := range want {
		if job.ClassOf(err) == class {
			return
		}
	}
	t.Errorf("the class is %v, want one of %v: %v", job.ClassOf(err), want, err)
}

func TestLoadIsOnceForAToken(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	table := target(t, c, "t")
	body := block(t, c, 0, 0, 1000)
	l := load(table, body, "a")
	l.Rows, l.QueryID, l.Comment = 1000, "a of "+table.Database, "job j"
	mustLoad(t, c, l)
	for range 3 {
		l.Body = bytes.NewReader(body)
		mustLoad(t, c, l)
		wantRows(t, c, table, 1000)
	}
	mustLoad(t, c, load(table, body, "b"))
	wantRows(t, c, table, 2000)
	// The server says what it wrote; fewer than there were is no success.
	l = load(table, body, "b")
	l.Rows = 1001
	wantClass(t, c.Load(t.Context(), l), job.Unknown)
	// The data are not looked at: another block under a used token is gone.
	// That is why a token is never made from the attempt.
	mustLoad(t, c, load(table, block(t, c, 0, 5000, 10), "a"))
	wantRows(t, c, table, 2000)
}

func TestLoadOfTwoBlocksIsOnceToo(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	table := target(t, c, "t")
	body := append(block(t, c, 0, 0, 100), block(t, c, 0, 100, 50)...)
	for range 2 {
		mustLoad(t, c, load(table, body, "a"))
		wantRows(t, c, table, 150)
	}
}

func TestLoadByTwinsAtOnce(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	table := target(t, c, "t")
	body := block(t, c, 0, 0, 20000)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			l := load(table, body, "a")
			if i%2 == 0 { // half of them with the fence
				l.QueryID = "twin of " + table.Database
			}
			errs[i] = c.Load(t.Context(), l)
		})
	}
	wg.Wait()
	for _, err := range errs {
		var x *clickhouse.Exception
		if err != nil && (!errors.As(err, &x) || x.Code != 216 || job.ClassOf(err) != job.SlowDown) {
			t.Error(err)
		}
	}
	wantRows(t, c, table, 20000)
}

func TestLoadTokenOutlivesTheServer(t *testing.T) {
	t.Parallel()
	p := ownEngine(t, t.TempDir())
	defer closeEngine(t, p)
	c := open(t, p.URL())
	table := target(t, c, "t")
	body := block(t, c, 0, 0, 1000)
	mustLoad(t, c, load(table, body, "a"))
	if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the engine answers again", func() bool { return p.Restarts() > 0 && c.Ping(t.Context()) == nil })
	mustLoad(t, c, load(table, body, "a"))
	wantRows(t, c, table, 1000)
}

// brokenReader gives data and then an error.
type brokenReader struct {
	data io.Reader
	err  error
}

func (r brokenReader) Read(p []byte) (int, error) {
	n, err := r.data.Read(p)
	if err == io.EOF { //nolint:errorlint // io.Reader's contract
		err = r.err
	}
	return n, err
}

func TestLoadOfACutBodyInsertsNothing(t *testing.T) {
	t.Parallel()
	p := newProxy(t, shared.URL())
	c := open(t, p.url)
	table := target(t, c, "t")
	body := block(t, c, 0, 0, 200000)
	mine := errors.New("the disk is on fire")
	for name, tc := range map[string]struct {
		body  io.Reader
		cut   int64
		class job.Class
		is    error
	}{
		"the body ends early":      {body: bytes.NewReader(body[:len(body)/2]), is: io.ErrUnexpectedEOF},
		"the file ends early":      {body: file(t, body[:len(body)/2]), is: io.ErrUnexpectedEOF},
		"reading the body fails":   {body: brokenReader{bytes.NewReader(body[:len(body)/2]), mine}, is: mine},
		"and can not be repeated":  {body: brokenReader{bytes.NewReader(body[:len(body)/2]), job.WithClass(mine, job.Permanent)}, is: mine, class: job.Permanent},
		"the connection is cut":    {body: bytes.NewReader(body), cut: int64(len(body) / 2)},
		"the connection of a file": {body: file(t, body), cut: int64(len(body) / 2)},
	} {
		l := load(table, body, "a")
		l.Body = tc.body
		p.cutAfter.Store(tc.cut)
		err := c.Load(t.Context(), l)
		p.cutAfter.Store(0)
		if err == nil || tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		if tc.cut > 0 {
			// How much the kernel has taken is not known.
			wantClass(t, err, job.Retry, job.Unknown)
		} else {
			wantClass(t, err, tc.class)
		}
		wantRows(t, c, table, 0)
	}
	// The token is not spent.
	mustLoad(t, c, load(table, body, "a"))
	wantRows(t, c, table, 200000)
}

func TestLoadWithoutAnAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	p := newProxy(t, shared.URL())
	c := open(t, p.url)
	table := target(t, c, "t")
	body := block(t, c, 0, 0, 1000)
	for i, b := range []io.Reader{bytes.NewReader(body), file(t, body)} {
		l := load(table, body, fmt.Sprint(i))
		// The native protocol has an answer before the rows are sent.
		l.Body = io.MultiReader(muter{p}, b)
		err := c.Load(t.Context(), l)
		p.mute.Store(false)
		wantClass(t, err, job.Unknown)
		rows := 1000 * (i + 1)
		eventually(t, "the rows", func() bool { return query(t, c, "SELECT count() FROM t") == fmt.Sprint(rows) })
		l.Body = bytes.NewReader(body)
		mustLoad(t, c, l)
		wantRows(t, c, table, rows)
	}
}

// muter is a reader of nothing that mutes a proxy.
type muter struct{ p *proxy }

func (m muter) Read([]byte) (int, error) {
	m.p.mute.Store(true)
	return 0, io.EOF
}

func TestLoadIntoAServerThatDies(t *testing.T) {
	t.Parallel()
	p := ownEngine(t, t.TempDir())
	c := open(t, p.URL())
	table := target(t, c, "t")
	body := block(t, c, 0, 0, 100000)

	pid := p.Pid()
	l := load(table, body, "a")
	l.Body = io.MultiReader(bytes.NewReader(body[:len(body)/2]), killer(pid), bytes.NewReader(body[len(body)/2:]))
	wantClass(t, c.Load(t.Context(), l), job.Retry, job.Unknown)
	eventually(t, "the engine answers again", func() bool { return p.Restarts() > 0 && c.Ping(t.Context()) == nil })
	wantRows(t, c, table, 0)
	mustLoad(t, c, load(table, body, "a"))
	wantRows(t, c, table, 100000)

	closeEngine(t, p)
	for _, err := range []error{
		c.Load(t.Context(), load(table, body, "b")),
		c.Ping(t.Context()),
		c.Exec(t.Context(), "SELECT 1"),
	} {
		wantClass(t, err, job.SlowDown)
		if !errors.Is(err, clickhouse.ErrUnavailable) || !strings.Contains(err.Error(), c.URLForPeople()) {
			t.Errorf("got %v", err)
		}
	}
}

// killer is a reader of nothing that kills a process.
type killer int

func (k killer) Read([]byte) (int, error) {
	_ = syscall.Kill(int(k), syscall.SIGKILL)
	return 0, io.EOF
}

func TestLoadHonoursTheContext(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	table := target(t, c, "t")
	body := block(t, c, 0, 0, 100000)
	ctx, cancel := context.WithCancelCause(t.Context())
	r, w := io.Pipe()
	go func() {
		_, _ = w.Write(body[:len(body)/2])
		cancel(job.ErrLeaseLost)
		_ = w.CloseWithError(job.ErrLeaseLost) // as a source does
	}()
	l := load(table, body, "a")
	l.Body = r
	err := c.Load(ctx, l)
	if err == nil || job.Judge(ctx, err, 0).Kind != job.VerdictLeaseLost {
		t.Errorf("got %v", err)
	}

	// A reader that is let go when the time is over, as one with a deadline is.
	const limit = 50 * time.Millisecond
	over, cancelOver := context.WithTimeout(t.Context(), limit)
	defer cancelOver()
	l = load(table, body, "a")
	l.Body, l.Timeout = stuck{over}, limit
	err = c.Load(t.Context(), l)
	wantClass(t, err, job.Retry, job.Unknown)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	wantRows(t, c, table, 0)
}

// A sender that was held up in the middle, and goes on when its time is over,
// must not finish what somebody else may be doing by then.
func TestLoadThatGoesOnTooLate(t *testing.T) {
	t.Parallel()
	for _, method := range []string{clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD} {
		c := open(t, shared.URL(), func(cfg *clickhouse.Config) { cfg.Compression = method })
		table := target(t, c, "t")
		body := block(t, c, 0, 0, 1000)
		token := "late " + table.Database
		for _, name := range []string{"cancelled", "deadline"} {
			for _, half := range []int{len(body) / 2, len(body) - 1, 0} {
				parent, cancel := context.WithCancelCause(t.Context())
				ctx := &late{Context: parent}
				g := newGate(body)
				g.first, g.rest = bytes.NewReader(body[:half]), bytes.NewReader(body[half:])
				l := load(table, body, token)
				l.Body = g
				out := make(chan error, 1)
				go func() { out <- c.Load(ctx, l) }()
				<-g.reached
				if name == "cancelled" {
					cancel(job.ErrLeaseLost)
				} else {
					ctx.over.Store(true)
				}
				close(g.on) // all the rest is there at once
				err := <-out
				wantClass(t, err, job.Retry)
				if name == "cancelled" && job.Judge(ctx, err, 0).Kind != job.VerdictLeaseLost {
					t.Errorf("got %v", err)
				}
				cancel(nil)
			}
		}
		eventually(t, "the inserts end", func() bool {
			return query(t, c, "SELECT count() FROM system.processes WHERE Settings['insert_deduplication_token'] = '"+token+"'") == "0"
		})
		wantRows(t, c, table, 0)
		mustLoad(t, c, load(table, body, token))
		wantRows(t, c, table, 1000)
	}
}

// late is a context whose deadline passes without a timer that fires, as in a
// process that was stopped and goes on.
type late struct {
	context.Context //nolint:containedctx // it is one
	over            atomic.Bool
}

func (l *late) Deadline() (time.Time, bool) {
	if l.over.Load() {
		return time.Now().Add(-time.Second), true
	}
	return time.Now().Add(time.Hour), true
}

// stuck is a reader that waits for a context.
type stuck struct{ until context.Context } //nolint:containedctx // it is a signal here

func (s stuck) Read([]byte) (int, error) {
	<-s.until.Done()
	return 0, s.until.Err()
}

// file is a file with the body in it.
func file(t *testing.T, body []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "body")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(body); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestLoadOfAFile(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	table := target(t, c, "t")
	body := block(t, c, 0, 0, 100000)
	f := file(t, append(append([]byte("head"), body...), "tail"...))
	for range 3 {
		if _, err := f.Seek(4, io.SeekStart); err != nil { // and that it is not closed
			t.Fatal(err)
		}
		l := load(table, body, "a")
		l.Body = f
		mustLoad(t, c, l)
		wantRows(t, c, table, 100000)
		if at, err := f.Seek(0, io.SeekCurrent); at != 4+int64(len(body)) || err != nil {
			t.Errorf("the file is at %d, %v", at, err)
		}
	}
}

func TestLoadThatCanNotBe(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	table := target(t, c, "t")
	body := block(t, c, 0, 0, 200000) // large: the refusal comes while it is being sent
	for name, tc := range map[string]struct {
		change func(*clickhouse.Load)
		code   int32
	}{
		"no token":       {func(l *clickhouse.Load) { l.Token = "" }, 0},
		"no columns":     {func(l *clickhouse.Load) { l.Columns = nil }, 0},
		"no length":      {func(l *clickhouse.Load) { l.Length = 0 }, 0},
		"no body":        {func(l *clickhouse.Load) { l.Body = nil }, 0},
		"no table":       {func(l *clickhouse.Load) { l.Table.Name = "none" }, 60},
		"no database":    {func(l *clickhouse.Load) { l.Table.Database = "none" }, 81},
		"unknown column": {func(l *clickhouse.Load) { l.Columns = []string{"id", "s", "_job", "nope"} }, 16},
		"wrong setting":  {func(l *clickhouse.Load) { l.Settings = map[string]string{"no_such_setting": "1"} }, 115},
		"not Native":     {func(l *clickhouse.Load) { l.Body = strings.NewReader(strings.Repeat("\xff", len(body))) }, -1},
	} {
		for range 2 {
			l := load(table, body, "a")
			tc.change(&l)
			err := c.Load(t.Context(), l)
			var x *clickhouse.Exception
			if tc.code < 0 {
				// The server says so, or what would send it sees it.
				if !errors.As(err, &x) && !errors.Is(err, nativeformat.ErrMalformed) {
					t.Errorf("%s: got %v", name, err)
				}
				continue
			}
			wantClass(t, err, job.Permanent)
			if errors.As(err, &x) != (tc.code > 0) || x != nil && x.Code != tc.code {
				t.Errorf("%s: got %v", name, err)
			}
		}
	}
	wantRows(t, c, table, 0)
}

// What the server does with a column of another type: it converts, as a CAST
// does, without a word. This is why CheckTarget refuses such a table.
func TestLoadConvertsTypesInSilence(t *testing.T) {
	t.Parallel()
	c := openIn(t, shared.URL())
	for _, tc := range []struct{ from, value, to, got string }{
		{"UInt16", "300", "UInt8", "44"},                // wraps
		{"Int32", "-1", "UInt32", "4294967295"},         // wraps
		{"Float64", "1.9", "Int32", "1"},                // cuts
		{"Nullable(Int32)", "NULL", "Int32", "0"},       // the column's default
		{"Int64", "1700000000", "String", "1700000000"}, // text
		{"String", "42", "UInt8", "42"},                 // parsed
		{"UInt8", "200", "UInt64", "200"},
		{"String", "x", "LowCardinality(String)", "x"},
		{"String", "x", "UInt8", "code 6"},  // an error at least
		{"String", "z", "Enum8('a'=1)", ""}, // see below
	} {
		exec1(t, c, "CREATE OR REPLACE TABLE v (x "+tc.to+") ENGINE = MergeTree ORDER BY tuple() SETTINGS non_replicated_deduplication_window = 100")
		value := "'" + tc.value + "'"
		if tc.value == "NULL" {
			value = tc.value
		}
		body := native(t, c, "SELECT CAST("+value+" AS "+tc.from+") AS x")
		err := c.Load(t.Context(), clickhouse.Load{Table: clickhouse.Table{Name: "v"}, Columns: []string{"x"},
			Body: bytes.NewReader(body), Length: int64(len(body)), Token: "a"})
		var x *clickhouse.Exception
		switch {
		case errors.As(err, &x):
			if got := fmt.Sprintf("code %d", x.Code); tc.got != "" && got != tc.got {
				t.Errorf("%s to %s: %v", tc.from, tc.to, err)
			}
			wantClass(t, err, job.Permanent)
		case err != nil:
			t.Error(err)
		default:
			if got := query(t, c, "SELECT x FROM v"); got != tc.got {
				t.Errorf("%s %s to %s: got %q, want %q", tc.from, tc.value, tc.to, got, tc.got)
			}
		}
	}
}

func quoted(name string) string { return "`" + strings.ReplaceAll(name, "`", "\\`") + "`" }

func TestLoadKeepsViewsRight(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	table := target(t, c, "t")
	exec1(t, c, "CREATE TABLE sums (k UInt64, n UInt64) ENGINE = SummingMergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 10000")
	exec1(t, c, "CREATE MATERIALIZED VIEW mv TO sums AS SELECT id % 10 AS k, count() AS n FROM t GROUP BY k")
	for chunk := range 3 {
		body := block(t, c, chunk, 1000*chunk, 1000)
		for range 3 {
			mustLoad(t, c, load(table, body, fmt.Sprint(chunk)))
		}
	}
	wantRows(t, c, table, 3000)
	if got := query(t, c, "SELECT sum(n) FROM sums"); got != "3000" {
		t.Errorf("the view counted %s rows", got)
	}
}

func TestLoadIntoManyPartitions(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	table := clickhouse.Table{Name: "p"}
	if err := c.Create(t.Context(), clickhouse.CreateSpec{Table: table, Columns: columns, Engine: "ENGINE = MergeTree PARTITION BY id ORDER BY id"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		mustLoad(t, c, load(table, block(t, c, 0, 0, 150), "a"))
		wantRows(t, c, clickhouse.Table{Database: c.Database(), Name: "p"}, 150)
	}
}

func TestLoadWithAwkwardNames(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL(), func(cfg *clickhouse.Config) { cfg.Database = "awk ward.`db` (1)" })
	cols := []job.Column{}
	var list []string
	var sel []string
	for i, name := range []string{"a b", `c"d`, "e`f", "$g", "h.i", `j\k`, "l(m)", "n'o", "FORMAT Native", "ü{x:UInt8}", "%s ?", "values"} {
		cols = append(cols, job.Column{Name: name, Type: "UInt64"})
		list = append(list, name)
		sel = append(sel, fmt.Sprintf("number + %d AS c%d", i, i))
	}
	table := clickhouse.Table{Database: c.Database(), Name: "t) FORMAT `CSV` -- $1 ?"}
	for range 2 {
		if err := c.Create(t.Context(), clickhouse.CreateSpec{Table: table, Columns: cols, Engine: "ENGINE = MergeTree ORDER BY `a b`"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.CheckTarget(t.Context(), table, cols); err != nil {
		t.Fatal(err)
	}
	body := native(t, c, "SELECT "+strings.Join(sel, ", ")+" FROM numbers(3)")
	// Native carries names: those of the body must be the table's.
	_ = body
	aliased := make([]string, len(list))
	for i, name := range list {
		aliased[i] = fmt.Sprintf("number + %d AS `%s`", i, strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name))
	}
	body = native(t, c, "SELECT "+strings.Join(aliased, ", ")+", toLowCardinality('j''s') AS _job, toUInt64(1) AS _chunk FROM numbers(3)")
	mustLoad(t, c, clickhouse.Load{Table: table, Columns: append(list, "_job", "_chunk"), Body: bytes.NewReader(body), Length: int64(len(body)), Token: "it's\\ a `token`"})
	wantRows(t, c, table, 3)
	if n, err := c.ChunkRows(t.Context(), table, "j's", 1); n != 3 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestLoadCompressed(t *testing.T) {
	t.Parallel()
	p := newProxy(t, shared.URL())
	for _, method := range []string{clickhouse.CompressionLZ4, clickhouse.CompressionZSTD} {
		c := open(t, p.url, func(cfg *clickhouse.Config) { cfg.Compression = method })
		table := target(t, c, method)
		body := block(t, c, 0, 0, 100000)
		before := p.up.Load()
		mustLoad(t, c, load(table, body, "a"))
		if sent := p.up.Load() - before; sent > int64(len(body)*2/3) {
			t.Errorf("%s: %d bytes were sent for %d", method, sent, len(body))
		}
		wantRows(t, c, table, 100000)

		mine := errors.New("the disk is on fire")
		l := load(table, body, "b")
		l.Body = brokenReader{bytes.NewReader(body[:len(body)/2]), mine}
		if err := c.Load(t.Context(), l); !errors.Is(err, mine) {
			t.Errorf("got %v", err)
		}
		p.cutAfter.Store(50000)
		wantClass(t, c.Load(t.Context(), load(table, body, "b")), job.Retry, job.Unknown)
		p.cutAfter.Store(0)
		wantRows(t, c, table, 100000)
		mustLoad(t, c, load(table, body, "b"))
		wantRows(t, c, table, 200000)
	}
}
