package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

const (
	// liveEvery is how often a page that is open is looked at for changes.
	liveEvery = time.Second
	// livePulse is how long a stream without changes is silent: a comment keeps
	// proxies from ending it.
	livePulse = 15 * time.Second
	// liveWrite is how long a browser may take to accept what is sent.
	liveWrite = 10 * time.Second
	// MaxLive bounds the pages that are live at once; one more is told to come
	// again, and can be read without that.
	MaxLive = 256
)

// stream sends a browser what has changed on its page, as server-sent events.
type stream struct {
	w      http.ResponseWriter
	out    *http.ResponseController
	sent   map[string][]byte // what each part looked like
	buffer bytes.Buffer      // parts to send in one message
	last   time.Time         // when anything was sent
	err    error
}

// openStream begins a stream, which knows nothing of what its page looks like.
func openStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	s := &stream{w: w, out: http.NewResponseController(w), sent: map[string][]byte{}}
	s.write([]byte(": open\n\n"))
	return s
}

// part has the element that target, a selector, finds look like html within, or
// as a whole where outer says so, unless it does.
func (s *stream) part(target string, html []byte, outer bool) {
	if before, known := s.sent[target]; known && bytes.Equal(before, html) {
		return
	}
	s.sent[target] = slices.Clone(html)
	style := "innerMorph"
	if outer {
		style = "outerMorph"
	}
	fmt.Fprintf(&s.buffer, "<hx-partial hx-target=%q hx-swap=%q>", target, style)
	s.buffer.Write(html)
	s.buffer.WriteString("</hx-partial>\n")
}

// known notes what a part looks like that was sent within another.
func (s *stream) known(target string, html []byte) { s.sent[target] = slices.Clone(html) }

// forget has a part sent the next time, whatever it looks like.
func (s *stream) forget(target string) { delete(s.sent, target) }

// flush sends the parts that have changed, as one message.
func (s *stream) flush() {
	if s.buffer.Len() == 0 {
		if time.Since(s.last) > livePulse {
			s.write([]byte(": alive\n\n"))
		}
		return
	}
	s.message("", s.buffer.Bytes())
	s.buffer.Reset()
}

// event sends a value for a script, as JSON.
func (s *stream) event(name string, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		s.err = fmt.Errorf("encoding the event %s: %w", name, err)
		return
	}
	s.message(name, data)
}

func (s *stream) message(name string, data []byte) {
	var out bytes.Buffer
	if name != "" {
		out.WriteString("event: " + name + "\n")
	}
	// A carriage return would end a line of the event: in HTML it is written as
	// a reference, and in JSON there is none.
	data = bytes.ReplaceAll(data, []byte("\r"), []byte("&#13;"))
	for line := range bytes.Lines(data) {
		out.WriteString("data: ")
		out.Write(bytes.TrimSuffix(line, []byte("\n")))
		out.WriteByte('\n')
	}
	out.WriteByte('\n')
	s.write(out.Bytes())
}

func (s *stream) write(data []byte) {
	if s.err != nil {
		return
	}
	// A writer without deadlines is one of a test.
	_ = s.out.SetWriteDeadline(time.Now().Add(liveWrite))
	if _, s.err = s.w.Write(data); s.err == nil {
		s.err = s.out.Flush()
	}
	s.last = time.Now()
}
