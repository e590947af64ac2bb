package engine

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

// lines passes what a child writes on to the log, line by line, and remembers
// the last of it for the error of a child that dies.
type lines struct {
	log zerolog.Logger

	mu      sync.Mutex
	partial []byte
	last    []string
}

// lastLines is how many lines of a dying child an error repeats.
const lastLines = 3

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		i := bytes.IndexByte(l.partial, '\n')
		if i < 0 {
			break
		}
		l.line(string(l.partial[:i]))
		l.partial = l.partial[i+1:]
	}
	if len(l.partial) > 64<<10 {
		l.line(string(l.partial))
		l.partial = nil
	}
	return len(p), nil
}

func (l *lines) line(s string) {
	s = strings.TrimSpace(s)
	if s == "" {
		return
	}
	if strings.HasPrefix(s, "{") && json.Valid([]byte(s)) {
		l.log.Debug().RawJSON("child", []byte(s)).Msg("from the engine's process")
		return
	}
	l.log.Debug().Str("child", s).Msg("from the engine's process")
	l.last = append(l.last, s)
	if len(l.last) > lastLines {
		l.last = l.last[1:]
	}
}

// flush handles a last line without an end.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line(string(l.partial))
	l.partial = nil
}

// tail is the last lines, in one.
func (l *lines) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.last, "; ")
}
