package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	// heartbeat is how long a stream is silent at most, for proxies that end
	// what is silent and to notice a reader that is gone.
	heartbeat = 15 * time.Second
	// slowReader is how long a reader may take to accept what is sent.
	slowReader = 10 * time.Second
	// comeBack is after how many milliseconds a browser asks again.
	comeBack = 3000
)

// stream sends server-sent events. Its writes are not concurrent.
type stream struct {
	w    http.ResponseWriter
	ctl  *http.ResponseController
	text bytes.Buffer
}

// event adds an event; id may be 0: none.
func (s *stream) event(name string, id uint64, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if id > 0 {
		fmt.Fprintf(&s.text, "id: %d\n", id)
	}
	fmt.Fprintf(&s.text, "event: %s\ndata: %s\n\n", name, text)
	return nil
}

// send sends what was added. A reader that does not take it in time is dropped.
func (s *stream) send() error {
	if err := s.ctl.SetWriteDeadline(time.Now().Add(slowReader)); err != nil {
		return err
	}
	if _, err := s.w.Write(s.text.Bytes()); err != nil {
		return err
	}
	s.text.Reset()
	return s.ctl.Flush()
}

// change adds the events of a change.
func (s *stream) change(c Change) error {
	if c.Reset {
		if err := s.event("reset", 0, struct{}{}); err != nil {
			return err
		}
	}
	for _, id := range c.Gone {
		if err := s.event("gone", 0, struct {
			Job string `json:"job"`
		}{id}); err != nil {
			return err
		}
	}
	for i, row := range c.Rows {
		if err := s.event("job", c.At[i], row); err != nil {
			return err
		}
	}
	fmt.Fprintf(&s.text, "id: %d\n\n", c.Revision) // no event: where to go on
	return nil
}

// events streams the changes of one job, or of all, until the reader or the
// server goes.
func (s *Service) events(w http.ResponseWriter, r *http.Request, only string, after *uint64) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return
	}
	out := &stream{w: w, ctl: http.NewResponseController(w)}
	fmt.Fprintf(&out.text, "retry: %d\n\n", comeBack)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	changes, watched := make(chan Change), make(chan error, 1)
	go func() {
		watched <- s.Watch(ctx, only, after, func(c Change) error {
			select {
			case changes <- c:
				return nil
			case <-ctx.Done():
				return nil
			}
		})
	}()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case c := <-changes:
			if out.change(c) != nil || out.send() != nil {
				cancel()
				<-watched //nolint:errcheck // why it ended is of no use to anybody now
				return
			}
		case <-beat.C:
			out.text.WriteString(": heartbeat\n\n")
			if out.send() != nil {
				cancel()
				<-watched //nolint:errcheck // why it ended is of no use to anybody now
				return
			}
		case err := <-watched:
			if err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
				s.Log.Warn().Err(err).Msg("a stream of events ended")
			}
			return
		}
	}
}

// lastEvent reads where a stream goes on: of the header Last-Event-ID, that
// browsers send when they come back, or of the query.
func lastEvent(header, query string) (*uint64, error) {
	text := header
	if text == "" {
		text = query
	}
	if text == "" {
		return nil, nil //nolint:nilnil // from now on
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, badInput("after", "%q is not the id of an event, nor the revision of a page of jobs", text)
	}
	return &n, nil
}
