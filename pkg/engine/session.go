package engine

import (
	"context"
	"sort"
	"strconv"
	"strings"
	"time"
)

// killPause is the time between two attempts to kill a statement: the first
// may come before the engine has listed it.
const killPause = 20 * time.Millisecond

// mark is the setting that carries the identity of a running request, to find
// it in system.processes: the engine takes no query id, and log_comment belongs
// to the caller. It is a free text that the engine looks at only when
// metrics_perf_events_enabled is set.
const mark = "metrics_perf_events_list"

// session is a connection to the engine, with settings of its own. A request
// has one to itself, because that costs a third of a millisecond, and nothing
// then leaks from one request into the next. Its methods must not be called
// concurrently.
type session struct {
	lib  *chdb
	args []string
	conn connection
	id   string // of the request
}

func openSession(lib *chdb, args []string, id string) (*session, error) {
	conn, err := lib.open(args)
	if err != nil {
		return nil, &Exception{210, "NETWORK_ERROR", err.Error()}
	}
	return &session{lib: lib, args: args, conn: conn, id: id}, nil
}

func (s *session) close() { s.lib.closeConn(s.conn) }

// use sets the database and the settings of the request.
func (s *session) use(database string, settings map[string]string) error {
	if database != "" && database != "default" {
		if _, _, err := s.lib.run(s.conn, "USE "+quoteName(database), "Null", nil); err != nil {
			return err
		}
	}
	var b strings.Builder
	b.WriteString("SET " + mark + "=" + quote(s.id))
	names := make([]string, 0, len(settings))
	for name := range settings {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for i := 0; i < len(name); i++ {
			if !isWord(name[i]) && name[i] != '.' {
				return &Exception{115, "UNKNOWN_SETTING", "Unknown setting '" + name + "'"}
			}
		}
		b.WriteString(", " + name + "=" + quote(settings[name]))
	}
	_, _, err := s.lib.run(s.conn, b.String(), "Null", nil)
	return err
}

// run executes a statement to its end. When ctx is cancelled, the statement is
// killed and run returns when it is really over.
func (s *session) run(ctx context.Context, sql, format string, parameters map[string]string) ([]byte, stats, error) {
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
	sql := "KILL QUERY WHERE Settings['" + mark + "'] = " + quote(s.id) + " ASYNC"
	for pause := killPause; ; pause = min(2*pause, time.Second) {
		_, _, _ = s.lib.run(other, sql, "Null", nil)
		select {
		case <-over:
			return
		case <-time.After(pause):
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
