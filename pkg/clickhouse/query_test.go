package clickhouse_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

func TestQuery(t *testing.T) {
	t.Parallel()
	c := openIn(t, shared.URL())
	for _, tc := range []struct{ sql, format, want string }{
		{"SELECT 1 AS x, 'a'", "", "1\ta\n"},
		{"SELECT 1 AS x", "CSVWithNames", "\"x\"\n1\n"},
		{"SELECT 1 AS x FORMAT JSONEachRow;", "CSV", "{\"x\":1}\n"},
		{"SELECT currentDatabase()", "", c.Database() + "\n"},
		{"CREATE TABLE q (x UInt8) ENGINE = Memory", "", ""},
		{"INSERT INTO q SELECT 3", "", ""},
		{"SELECT x FROM q", "", "3\n"},
	} {
		var b bytes.Buffer
		if err := c.Query(t.Context(), tc.sql, tc.format, &b); err != nil || b.String() != tc.want {
			t.Errorf("%s: got %q, %v", tc.sql, b.String(), err)
		}
	}
	if b := native(t, c, "SELECT 7 AS x"); string(b) != "\x01\x01\x01x\x05UInt8\x07" {
		t.Errorf("Native is not plain: %q", b)
	}
}

func TestQueryMistakes(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL())
	err := c.Query(t.Context(), "SELECT 1\n  FROM (SELECT", "", io.Discard)
	var database *clickhouse.Exception
	if !errors.As(err, &database) || database.Code != 81 { // of the client, which is not there
		t.Errorf("got %v", err)
	}
	exec1(t, open(t, shared.URL(), func(cfg *clickhouse.Config) { cfg.Database = "default" }), "CREATE DATABASE "+quoted(c.Database()))
	for sql, want := range map[string][2]int{"SELECT 1\n  FRM (SELECT 2": {2, 7}, "SELEC 1": {1, 1}, "SELECT (1": {0, 0}} {
		err := c.Query(t.Context(), sql, "", io.Discard)
		var syntax *clickhouse.SyntaxError
		if !errors.As(err, &syntax) || syntax.Err.Code != 62 || want[0] > 0 && (syntax.Line != want[0] || syntax.Column != want[1]) {
			t.Errorf("%s: got %+v, %v", sql, syntax, err)
		}
		wantClass(t, err, job.Permanent)
		if err := c.Exec(t.Context(), sql); !errors.As(err, &syntax) {
			t.Errorf("%s: got %v", sql, err)
		}
	}
	for sql, code := range map[string]int32{
		"SELECT nope": 47, "SELECT * FROM nope": 60, "SELECT nope()": 46,
		"SELECT throwIf(number = 300000) FROM numbers(500000)": 395, // after a part of the result
		"SELECT 1 SETTINGS nope = 1":                           115,
	} {
		err := c.Query(t.Context(), sql, "JSONEachRow", io.Discard)
		var x *clickhouse.Exception
		if !errors.As(err, &x) || x.Code != code || x.Name == "" || strings.Contains(x.Message, "(version") {
			t.Errorf("%s: got %v", sql, err)
		}
	}
	if err := c.Query(t.Context(), "SELECT 1", "No such; format", io.Discard); err == nil {
		t.Error("the format passed")
	}
}

// An INSERT that comes without rows inserts none, and does not wait for any.
func TestInsertWithoutRows(t *testing.T) {
	t.Parallel()
	c := openIn(t, shared.URL())
	exec1(t, c, "CREATE TABLE t (id UInt64) ENGINE = MergeTree ORDER BY id")
	exec1(t, c, "INSERT INTO `t` (`id`) FORMAT Native")
	if err := c.Query(t.Context(), "INSERT INTO `t` (`id`) VALUES (1)", "Null", io.Discard); err != nil {
		t.Error(err)
	}
	exec1(t, c, "INSERT INTO t SELECT 2")
	if got := query(t, c, "SELECT groupArray(id) FROM (SELECT id FROM t ORDER BY id)"); got != "[1,2]" {
		t.Errorf("the rows are %s", got)
	}
}

type full struct{}

var errFull = errors.New("disk full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestQueryThatIsLeft(t *testing.T) {
	t.Parallel()
	c := open(t, shared.URL(), func(cfg *clickhouse.Config) { cfg.Database = "default"; cfg.MaxConns = 2 })
	const endless = "SELECT number /* TestQueryThatIsLeft */ FROM system.numbers"
	running := func() string {
		return query(t, c, "SELECT count() FROM system.processes WHERE query LIKE 'SELECT number /* TestQueryThatIsLeft%'")
	}
	if err := c.Query(t.Context(), endless, "", full{}); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
	eventually(t, "the server stops", func() bool { return running() == "0" })
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Query(ctx, endless, "", writer(func(p []byte) (int, error) { cancel(); return len(p), nil }))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	eventually(t, "the server stops", func() bool { return running() == "0" })

	// A pool that is used up waits, for as long as the context lets it.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	begun, release := make(chan struct{}, 2), make(chan struct{})
	done := make(chan error, 2)
	for range 2 {
		go func() {
			first := true
			done <- c.Query(t.Context(), "SELECT 1", "", writer(func(p []byte) (int, error) {
				if first {
					begun <- struct{}{}
					<-release
				}
				first = false
				return len(p), nil
			}))
		}()
		<-begun
	}
	go cancel()
	if err := c.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(release)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
