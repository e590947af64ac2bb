package engine

import (
	"context"
	"strings"
	"time"
)

// killPause is the time between two attempts to kill a statement: the first
// may come before the engine has listed it.
const killPause = 20 * time.Millisecond

// mark is the setting that carries the query id of a running request, to find
// it in system.processes: the engine takes no query id from us, and log_comment
// belongs to the caller. It is a free text that the engine looks at only when
// metrics_perf_events_enabled is set.
const mark = "metrics_perf_events_list"

// marked is the query id of a row of system.processes.
const marked = "Settings['" + mark + "']"

// run executes a statement to its end. When ctx is cancelled, the statement is
// killed and run returns when it is really over.
func (s *session) run(ctx context.Context, sql, format string, parameters map[string]string) ([]byte, stats, error) {
	if ctx.Err() != nil {
		return nil, stats{}, &Exception{codeCancelled, "QUERY_WAS_CANCELLED", "Query was cancelled"}
	}
	over := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-over:
		case <-ctx.Done():
			s.kill(over)
		}
	}()
	out, st, err := s.lib.run(s.conn, sql, format, parameters)
	close(over)
	<-watched
	return out, st, err
}

// kill asks the engine to end the request, again and again until it is over:
// only ASYNC, as a synchronous KILL waits for a pipe that nobody will close.
func (s *session) kill(over <-chan struct{}) {
	other, err := s.lib.open(s.args)
	if err != nil {
		return // the statement goes on; nothing can reach the engine
	}
	defer s.lib.closeConn(other)
	sql := "KILL QUERY WHERE " + marked + " = " + quote(s.id) + " ASYNC"
	for pause := killPause; ; pause = min(2*pause, time.Second) {
		_, _, _ = s.lib.run(other, sql, "Null", nil)
		timer := time.NewTimer(pause)
		select {
		case <-over:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// killStatement rewrites a KILL QUERY that a client sent: its query_id is the
// client's, which the engine knows by our mark only, and it must not wait.
func killStatement(sql string) string {
	lex := &lexer{text: []byte(sql)}
	var b strings.Builder
	copied := 0
	for t := lex.next(); t.kind != tokenEnd && t.kind != tokenOpen; t = lex.next() {
		replacement := ""
		switch {
		case t.kind == tokenWord && t.word == "QUERY_ID", t.kind == tokenQuoted && strings.EqualFold(sql[t.start+1:t.end-1], "query_id"):
			replacement = marked
		case t.kind == tokenWord && t.word == "SYNC":
			replacement = "ASYNC"
		default:
			continue
		}
		b.WriteString(sql[copied:t.start] + replacement)
		copied = t.end
	}
	return b.String() + sql[copied:]
}
