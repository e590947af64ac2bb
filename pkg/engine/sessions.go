package engine

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Times of sessions, as on a server.
const (
	defaultSessionTimeout = 60 * time.Second
	maxSessionTimeout     = time.Hour
)

// sessions are the connections that outlive their request, by session_id: for
// temporary tables, SET and USE. A session serves one request at a time.
type sessions struct {
	mu     sync.Mutex
	byID   map[string]*namedSession
	closed bool
}

type namedSession struct {
	*session
	busy    bool
	expires *time.Timer // nil while busy
}

// take returns the session called id, or a new one made by open. With check a
// missing one is an error. The caller calls give when the request is over.
func (s *sessions) take(id string, check bool, open func() (*session, error)) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.byID[id]; n != nil {
		if n.busy {
			return nil, &Exception{codeSessionLocked, "SESSION_IS_LOCKED", "Session " + id + " is locked by a concurrent client"}
		}
		n.busy = true
		n.expires.Stop()
		return n.session, nil
	}
	if check {
		return nil, &Exception{codeNoSession, "SESSION_NOT_FOUND", "Session " + id + " not found"}
	}
	ses, err := open()
	if err != nil {
		return nil, err
	}
	if s.byID == nil {
		s.byID = map[string]*namedSession{}
	}
	s.byID[id] = &namedSession{session: ses, busy: true}
	return ses, nil
}

// give ends the request's use of the session, which lives on for timeout.
func (s *sessions) give(id string, timeout time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.byID[id]
	if s.closed {
		delete(s.byID, id)
		n.close()
		return
	}
	n.busy = false
	var timer *time.Timer
	timer = time.AfterFunc(timeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		// Another request may have come in the meantime.
		if s.byID[id] == n && !n.busy && n.expires == timer {
			delete(s.byID, id)
			n.close()
		}
	})
	n.expires = timer
}

// closeAll ends all sessions, the busy ones when they are given back.
func (s *sessions) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for id, n := range s.byID {
		if !n.busy {
			n.expires.Stop()
			delete(s.byID, id)
			n.close()
		}
	}
}

// sessionTimeout reads the parameter session_timeout, in seconds.
func sessionTimeout(value string) (time.Duration, error) {
	if value == "" {
		return defaultSessionTimeout, nil
	}
	seconds, err := strconv.ParseUint(value, 10, 32)
	timeout := time.Duration(seconds) * time.Second
	if err != nil || timeout > maxSessionTimeout {
		return 0, &Exception{374, "INVALID_SESSION_TIMEOUT", "Invalid session timeout: '" + value + "', at most " + maxSessionTimeout.String()}
	}
	return timeout, nil
}

// lend sets what the request asks for in a session that lives on, and returns
// what puts it back: settings and database of a request are its own.
func (s *session) lend(database string, settings map[string]string) (restore func(), err error) {
	names := []string{quote(mark)}
	for name := range settings {
		names = append(names, quote(name))
	}
	out, _, err := s.lib.run(s.conn, "SELECT currentDatabase(), (SELECT groupArray(concat(name, '=', if(changed, value, '\\x01'))) FROM system.settings WHERE name IN ("+strings.Join(names, ",")+")) FORMAT JSONCompactEachRow", "Null", nil)
	if err != nil {
		return nil, err
	}
	before, changed, err := decodeLent(out)
	if err != nil {
		return nil, err
	}
	restore = func() {
		var set []string
		for name, value := range changed {
			if value == "\x01" {
				set = append(set, name+"=DEFAULT")
			} else {
				set = append(set, name+"="+quote(value))
			}
		}
		_, _, _ = s.lib.run(s.conn, "SET "+strings.Join(set, ", "), "Null", nil)
		if database != "" {
			_, _, _ = s.lib.run(s.conn, "USE "+quoteName(before), "Null", nil)
		}
		// What a failed statement left of its output goes here.
		_, _, _ = s.lib.run(s.conn, "SELECT 1 FORMAT Null", "Null", nil)
	}
	if err := s.use(database, settings); err != nil {
		restore()
		return nil, err
	}
	return restore, nil
}

// decodeLent reads the row that lend asked for: the database, and the settings
// as name=value.
func decodeLent(out []byte) (database string, settings map[string]string, err error) {
	var pairs []string
	if err := json.Unmarshal(out, &[]any{&database, &pairs}); err != nil {
		return "", nil, fmt.Errorf("read the settings of a session: %w", err)
	}
	settings = map[string]string{}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		settings[name] = value
	}
	return database, settings, nil
}
