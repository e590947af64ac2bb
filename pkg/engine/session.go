package engine

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// session is a connection to the engine, with settings of its own. A request
// has one to itself, because that costs a third of a millisecond, and nothing
// then leaks from one request into the next. Its methods must not be called
// concurrently.
type session struct {
	lib  *chdb
	args []string
	conn connection
	id   string // of the request's query
}

func openSession(lib *chdb, args []string) (*session, error) {
	conn, err := lib.open(args)
	if err != nil {
		return nil, &Exception{codeNetwork, "NETWORK_ERROR", err.Error()}
	}
	return &session{lib: lib, args: args, conn: conn}, nil
}

func (s *session) close() { s.lib.closeConn(s.conn) }

// use sets the database and the settings of the request.
func (s *session) use(database string, settings map[string]string) error {
	if database != "" {
		if _, _, err := s.lib.run(s.conn, "USE "+quoteName(database), "Null", nil); err != nil {
			return err
		}
	}
	set := []string{mark + "=" + quote(s.id)}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		for i := 0; i < len(name); i++ {
			if !isWord(name[i]) && name[i] != '.' {
				return &Exception{codeUnknownSetting, "UNKNOWN_SETTING", "Unknown setting '" + name + "'"}
			}
		}
		set = append(set, name+"="+quote(settings[name]))
	}
	_, _, err := s.lib.run(s.conn, "SET "+strings.Join(set, ", "), "Null", nil)
	return err
}

// structure is the columns of a table as a table function takes them.
func (s *session) structure(table string) (string, error) {
	out, _, err := s.lib.run(s.conn, "DESCRIBE TABLE "+table+" FORMAT JSONEachRow", "Null", nil)
	if err != nil {
		return "", err
	}
	var columns []string
	for line := range strings.Lines(string(out)) {
		var c struct {
			Name        string `json:"name"`
			Type        string `json:"type"`
			DefaultType string `json:"default_type"`
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			return "", err
		}
		if c.DefaultType != "ALIAS" && c.DefaultType != "MATERIALIZED" {
			columns = append(columns, quoteName(c.Name)+" "+c.Type)
		}
	}
	return strings.Join(columns, ", "), nil
}
