package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxStatement is how long a statement without its data may be: more than
// max_query_size of a server, 256 KiB, as some SQL is generated.
const maxStatement = 4 << 20

// ServeHTTP answers one request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-ClickHouse-Server-Display-Name", s.name)
	h.Set("X-ClickHouse-Timezone", "UTC")
	h.Set("Server", "ClickHouse (drayage engine)")
	switch r.URL.Path {
	case "/ping", "/replicas_status":
		plain(w, http.StatusOK, "Ok.\n")
		return
	case "/":
	default:
		plain(w, http.StatusNotFound, "There is no handle "+r.URL.Path+"\n\nUse / or /ping for health checks.\nSend queries from your program with POST method or GET /?query=...\n")
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut:
	case http.MethodOptions:
		plain(w, http.StatusNoContent, "")
		return
	default:
		plain(w, http.StatusMethodNotAllowed, "only GET, HEAD, POST and PUT are known\n")
		return
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	out := newReply(w)
	defer out.release()
	out.version, out.tmp = s.version, s.cfg.TmpPath
	if err != nil {
		out.fail(&Exception{36, "BAD_ARGUMENTS", "Cannot parse the URL: " + err.Error()}, stats{})
		return
	}
	if !values.Has("query") && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		plain(w, http.StatusOK, "Ok.\n")
		return
	}
	out.coding, out.wait = replyCoding(r, values), isTrue(values.Get("wait_end_of_query"))
	sta, err := s.answer(w, r, values, out)
	if err != nil {
		e := asException(err)
		// Not its message, which may quote a secret of the statement: whoever sent it knows
		// what to leave out.
		s.log.Debug().Str("query_id", h.Get(headerQueryID)).Int("code", e.Code).Msg("a statement failed")
		s.drain(w, r)
		out.fail(e, sta)
		return
	}
	if err := out.done(sta); err != nil {
		s.log.Debug().Err(err).Msg("the client left before the end of its reply")
	}
}

// drainTime is how long a client may go on to send after its statement failed.
const drainTime = 5 * time.Second

// drain reads what a client is still sending, as it would see a broken
// connection in place of the reply. One that does not come to an end loses its
// connection after the reply.
func (s *server) drain(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(drainTime))
	if r.Context().Err() == nil && s.stopping.Err() == nil {
		if _, err := io.CopyN(io.Discard, r.Body, s.cfg.MaxBody); errors.Is(err, io.EOF) {
			_ = control.SetReadDeadline(time.Time{})
			return
		}
	}
	w.Header().Set("Connection", "close")
}

// answer runs the statement of a request.
func (s *server) answer(w http.ResponseWriter, r *http.Request, values url.Values, out *reply) (stats, error) {
	if err := s.authenticate(r, values); err != nil {
		return stats{}, err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	body := &patient{ReadCloser: r.Body, ctx: ctx, control: http.NewResponseController(w), wait: s.cfg.ReceiveTimeout}
	within := r.WithContext(ctx)
	within.Body = body
	req, err := s.readRequest(within, values)
	if err != nil {
		return stats{}, err
	}
	w.Header().Set(headerQueryID, req.queryID)
	if req.deadline > 0 {
		// ClickHouse looks at its clock between blocks only.
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, req.deadline+time.Second, errDeadline)
		defer stop()
		body.ctx = ctx
	}
	defer context.AfterFunc(s.stopping, cancel)()
	// A body that a client does not go on with must not keep a cancelled
	// statement waiting. The connection can not be read any more then.
	interrupted := make(chan struct{})
	uninterrupted := context.AfterFunc(ctx, func() {
		_ = body.control.SetReadDeadline(longAgo)
		close(interrupted)
	})
	defer func() {
		if !uninterrupted() {
			<-interrupted
			w.Header().Set("Connection", "close")
		}
	}()
	leave, err := s.queries.enter(req.queryID)
	if err != nil {
		return stats{}, err
	}
	defer leave()
	release, err := s.slot(ctx)
	if err != nil {
		return stats{}, err
	}
	defer release()

	sta, err := s.runRequest(ctx, req, out)
	if err != nil && errors.Is(context.Cause(ctx), errDeadline) {
		err = &Exception{codeTimeout, "TIMEOUT_EXCEEDED", fmt.Sprintf("Timeout exceeded: maximum: %v", req.deadline)}
	}
	return sta, err
}

// errDeadline is the cause of a cancellation by max_execution_time.
var errDeadline = errors.New("max_execution_time")

// runRequest runs the statement in a session.
func (s *server) runRequest(ctx context.Context, req *request, out *reply) (stats, error) {
	if req.parts == nil {
		// clickhouse-go asks this of every new connection: no session is
		// opened for it.
		if req.format == "Native" && req.protocol != "" && req.query == "" {
			head, complete, err := readMore(make([]byte, 0, 4096), req.body)
			if err != nil {
				return stats{}, unreadable(err)
			}
			if complete && strings.TrimSpace(string(head)) == helloQuery {
				out.w.Header().Set(headerFormat, "Native")
				_, err := out.Write(helloBlock(s.name, s.version))
				return stats{rows: 1}, err
			}
			req.body = io.MultiReader(strings.NewReader(string(head)), req.body)
		}
	}
	ses, done, err := s.session(req)
	if err != nil {
		return stats{}, err
	}
	defer done()
	if req.parts != nil {
		if err := req.readForm(ctx, ses); err != nil {
			return stats{}, err
		}
	}
	st, data, err := req.split()
	if err != nil {
		return stats{}, err
	}
	if req.readonly && (st.kind == kindInsert || st.kind == kindInput || writes[st.verb]) {
		return stats{}, &Exception{codeReadonly, "READONLY", "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries."}
	}
	format := st.format
	if format == "" {
		format = req.format
	}
	h := out.w.Header()
	h.Set(headerFormat, format)
	h.Set("Content-Type", contentType(format))
	switch st.kind {
	case kindSelect:
		sta, err := ses.streamSelect(ctx, st, format, req.parameters, out)
		var e *Exception
		if !errors.As(err, &e) || e.Code != codeSyntax {
			return sta, err
		}
		// The message is about our own text. As it came, the statement fails
		// with the right one, before anything is run.
	case kindInsert, kindInput:
		return ses.streamInsert(ctx, st, req.parameters, data)
	}
	text, sta, err := ses.run(ctx, st.full, req.format, req.parameters)
	if err != nil {
		return sta, err
	}
	_, err = out.Write(text)
	return sta, err
}

// session opens the session of a request, with its database and settings set.
func (s *server) session(req *request) (ses *session, done func(), err error) {
	// Data are committed before the reply, which is more than an
	// asynchronous INSERT promises.
	delete(req.settings, "async_insert")
	delete(req.settings, "wait_for_async_insert")
	open := func() (*session, error) { return openSession(s.lib, s.args) }
	if req.sessionID == "" {
		if ses, err = open(); err != nil {
			return nil, nil, err
		}
		ses.id = req.queryID
		if err := ses.use(req.database, req.settings); err != nil {
			ses.close()
			return nil, nil, err
		}
		return ses, ses.close, nil
	}
	if ses, err = s.sessions.take(req.sessionID, req.sessionCheck, open); err != nil {
		return nil, nil, err
	}
	ses.id = req.queryID
	restore, err := ses.lend(req.database, req.settings)
	if err != nil {
		s.sessions.give(req.sessionID, req.sessionTimeout)
		return nil, nil, err
	}
	return ses, func() {
		restore()
		s.sessions.give(req.sessionID, req.sessionTimeout)
	}, nil
}

// writes are the statements that a GET may not run.
var writes = map[string]bool{
	"INSERT": true, "CREATE": true, "REPLACE": true, "ALTER": true, "DROP": true, "TRUNCATE": true, "RENAME": true, "EXCHANGE": true,
	"ATTACH": true, "DETACH": true, "UNDROP": true, "DELETE": true, "UPDATE": true, "OPTIMIZE": true, "SYSTEM": true, "KILL": true,
	"GRANT": true, "REVOKE": true, "BACKUP": true, "RESTORE": true, "MOVE": true,
}

// slot takes one of MaxConnections, waiting for at most MaxWait.
func (s *server) slot(ctx context.Context) (release func(), err error) {
	give := func() { <-s.slots }
	select {
	case s.slots <- struct{}{}:
		return give, nil
	default:
	}
	timer := time.NewTimer(s.cfg.MaxWait)
	defer timer.Stop()
	select {
	case s.slots <- struct{}{}:
		return give, nil
	case <-timer.C:
		return nil, &Exception{codeTooMany, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many simultaneous queries. Maximum: " + strconv.Itoa(cap(s.slots))}
	case <-ctx.Done():
		return nil, &Exception{codeCancelled, "QUERY_WAS_CANCELLED", "Query was cancelled"}
	}
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// contentType is what ClickHouse says of a format.
func contentType(format string) string {
	switch {
	case strings.HasPrefix(format, "TSV"), strings.HasPrefix(format, "TabSeparated"):
		return "text/tab-separated-values; charset=UTF-8"
	case strings.HasPrefix(format, "CSV"):
		header := "absent"
		if strings.Contains(format, "WithNames") {
			header = "present"
		}
		return "text/csv; charset=UTF-8; header=" + header
	case strings.HasPrefix(format, "JSON") && (strings.Contains(format, "EachRow") || format == "JSONLines"), format == "NDJSON":
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(format, "JSON"):
		return "application/json; charset=UTF-8"
	case format == "XML":
		return "application/xml; charset=UTF-8"
	case strings.HasPrefix(format, "Pretty"), format == "Vertical", format == "Values", format == "Markdown", format == "SQLInsert":
		return "text/plain; charset=UTF-8"
	default:
		return "application/octet-stream"
	}
}
