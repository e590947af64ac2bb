package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// maxStatement is how long a statement without its data may be: as
// max_query_size of a server, which is 256 KiB, with room for generated SQL.
const maxStatement = 4 << 20

// request is one HTTP request as the engine understands it.
type request struct {
	database   string
	format     string // default_format
	queryID    string
	settings   map[string]string
	parameters map[string]string // of {name:Type}
	protocol   string            // client_protocol_version
	query      string            // the parameter
}

// notSettings are the parameters of a URL that are no settings.
var notSettings = map[string]bool{
	"user": true, "password": true, "quota_key": true, "stacktrace": true, "role": true,
	"compress": true, "decompress": true, "buffer_size": true, "wait_end_of_query": true,
	"session_id": true, "session_check": true, "session_timeout": true,
	"http_write_exception_in_output_format": true,
}

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
		plain(w, http.StatusNotFound, "There is no handle "+r.URL.Path+"\n\nUse / or /ping for health checks.\n\nSend queries from your program with POST method or GET /?query=...\n")
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
	out := newReply(w, acceptsGzip(r, values))
	if err != nil {
		out.fail(&Exception{36, "BAD_ARGUMENTS", "Cannot parse the URL: " + err.Error()}, stats{})
		return
	}
	if !values.Has("query") && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		plain(w, http.StatusOK, "Ok.\n")
		return
	}
	sta, err := s.answer(r, values, out)
	if err != nil {
		e := asException(err)
		s.log.Debug().Str("query_id", h.Get(headerQueryID)).Int("code", e.Code).Msg(e.Message)
		// A client that is still sending would see a broken connection in
		// place of the reply.
		_, _ = io.CopyN(io.Discard, r.Body, s.cfg.MaxBody)
		out.fail(e, sta)
		return
	}
	if err := out.done(sta); err != nil {
		s.log.Debug().Err(err).Msg("the client left before the end of its reply")
	}
}

// answer runs the statement of a request.
func (s *server) answer(r *http.Request, values url.Values, out *reply) (stats, error) {
	if err := s.authenticate(r, values); err != nil {
		return stats{}, err
	}
	req, err := readRequest(r, values)
	if err != nil {
		return stats{}, err
	}
	out.w.Header().Set(headerQueryID, req.queryID)

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	leave, err := s.queries.enter(req.queryID, cancel)
	if err != nil {
		return stats{}, err
	}
	defer leave()

	body, err := s.body(r, values)
	if err != nil {
		return stats{}, err
	}
	st, data, err := split(req.query, body)
	if err != nil {
		return stats{}, err
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		if st.kind == kindInsert || st.kind == kindInput || writes[st.verb] {
			return stats{}, &Exception{164, "READONLY", "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries."}
		}
	}
	release, err := s.slot(ctx)
	if err != nil {
		return stats{}, err
	}
	defer release()

	format := st.format
	if format == "" {
		format = req.format
	}
	if hello(st.sql, format, req.protocol) {
		_, err := out.Write(helloBlock(s.name, s.version))
		return stats{rows: 1}, err
	}
	ses, err := openSession(s.lib, s.args, strconv.FormatUint(s.requests.Add(1), 36))
	if err != nil {
		return stats{}, err
	}
	defer ses.close()
	if st.kind == kindInsert || st.kind == kindInput {
		// Data are committed before the reply, which is more than an
		// asynchronous INSERT promises.
		delete(req.settings, "async_insert")
		delete(req.settings, "wait_for_async_insert")
	}
	if err := ses.use(req.database, req.settings); err != nil {
		return stats{}, err
	}
	out.w.Header().Set(headerFormat, format)
	out.w.Header().Set("Content-Type", contentType(format))
	switch st.kind {
	case kindSelect:
		return ses.streamSelect(ctx, st, format, req.parameters, out)
	case kindInsert, kindInput:
		return ses.streamInsert(ctx, st, req.parameters, data)
	default:
		text, sta, err := ses.run(ctx, st.sql, format, req.parameters)
		if err != nil {
			return sta, err
		}
		_, err = out.Write(text)
		return sta, err
	}
}

// writes are the statements that a GET may not run.
var writes = map[string]bool{
	"INSERT": true, "CREATE": true, "ALTER": true, "DROP": true, "TRUNCATE": true, "RENAME": true, "EXCHANGE": true,
	"ATTACH": true, "DETACH": true, "UNDROP": true, "DELETE": true, "UPDATE": true, "OPTIMIZE": true, "SYSTEM": true, "KILL": true,
	"GRANT": true, "REVOKE": true, "BACKUP": true, "RESTORE": true, "MOVE": true,
}

// split reads the statement out of the parameter and the body. Data are what
// follows it.
func split(query string, body io.Reader) (statement, io.Reader, error) {
	if query != "" {
		// `query=INSERT … FORMAT x`, data in the body, is told by the
		// parameter alone.
		st, _, err := parse([]byte(query), true)
		if err == nil && (st.kind == kindInsert || st.kind == kindInput) {
			rest := query[st.data:]
			if strings.TrimSpace(rest) == "" {
				return st, body, nil
			}
			return st, io.MultiReader(strings.NewReader(rest+"\n"), body), nil
		}
		query += "\n"
	}
	head := append(make([]byte, 0, max(len(query)+512, 4096)), query...)
	for complete := false; ; {
		var err error
		head, complete, err = more(head, body)
		if err != nil {
			return statement{}, nil, &Exception{codeReadAll, "CANNOT_READ_ALL_DATA", "Cannot read all data of the request: " + err.Error()}
		}
		st, again, err := parse(head, complete)
		switch {
		case err != nil:
			return statement{}, nil, err
		case !again && (st.kind == kindInsert || st.kind == kindInput):
			return st, io.MultiReader(bytes.NewReader(head[st.data:]), body), nil
		case !again:
			return st, nil, nil
		case len(head) > maxStatement:
			return statement{}, nil, &Exception{codeSyntax, "SYNTAX_ERROR", fmt.Sprintf("Syntax error: Max query size exceeded: the statement without its data is longer than %d bytes", maxStatement)}
		}
	}
}

// more reads about as much of body as head already holds.
func more(head []byte, body io.Reader) (longer []byte, complete bool, err error) {
	if cap(head)-len(head) < 512 {
		head = append(make([]byte, 0, 2*cap(head)), head...)
	}
	n, err := readSome(body, head[len(head):cap(head)])
	head = head[:len(head)+n]
	if errors.Is(err, io.EOF) {
		return head, true, nil
	}
	return head, false, err
}

// readRequest reads the parameters of a request.
func readRequest(r *http.Request, values url.Values) (*request, error) {
	req := &request{
		database: r.Header.Get("X-ClickHouse-Database"),
		format:   r.Header.Get(headerFormat),
		settings: map[string]string{}, parameters: map[string]string{},
	}
	for name, all := range values {
		value := all[len(all)-1]
		switch {
		case name == "query":
			req.query = value
		case name == "database":
			req.database = value
		case name == "default_format":
			req.format = value
		case name == "query_id":
			req.queryID = value
		case name == "client_protocol_version":
			req.protocol = value
		case strings.HasPrefix(name, "param_"):
			req.parameters[strings.TrimPrefix(name, "param_")] = value
		case notSettings[name]:
		default:
			req.settings[name] = value
		}
	}
	if values.Get("session_id") != "" {
		return nil, &Exception{codeNotImplemented, "NOT_IMPLEMENTED", "session_id is not supported by this engine: each request is a session of its own"}
	}
	if req.format == "" {
		req.format = "TabSeparated"
	}
	for i := 0; i < len(req.format); i++ {
		if !isWord(req.format[i]) {
			return nil, &Exception{73, "UNKNOWN_FORMAT", "Unknown format " + req.format}
		}
	}
	if req.queryID == "" {
		var random [16]byte
		_, _ = rand.Read(random[:])
		x := hex.EncodeToString(random[:])
		req.queryID = x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
	}
	return req, nil
}

// authenticate checks user and password when a password is configured.
func (s *server) authenticate(r *http.Request, values url.Values) error {
	if s.cfg.Password == "" {
		return nil
	}
	user, password := r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key")
	if user == "" && password == "" {
		var ok bool
		if user, password, ok = r.BasicAuth(); !ok {
			user, password = values.Get("user"), values.Get("password")
		}
	}
	if user == "" {
		user = "default"
	}
	same := subtle.ConstantTimeCompare([]byte(user), []byte(s.cfg.User)) & subtle.ConstantTimeCompare([]byte(password), []byte(s.cfg.Password))
	if same != 1 {
		return &Exception{516, "AUTHENTICATION_FAILED", user + ": Authentication failed: password is incorrect, or there is no user with such name."}
	}
	return nil
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
		return nil, &Exception{202, "TOO_MANY_SIMULTANEOUS_QUERIES", fmt.Sprintf("Too many simultaneous queries. Maximum: %d", cap(s.slots))}
	case <-ctx.Done():
		return nil, &Exception{394, "QUERY_WAS_CANCELLED", "Query was cancelled"}
	}
}

// body is the body of the request, decompressed, bounded.
func (s *server) body(r *http.Request, values url.Values) (io.Reader, error) {
	var body io.Reader = &bounded{r.Body, s.cfg.MaxBody}
	switch enc := strings.ToLower(r.Header.Get("Content-Encoding")); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		body = &lazyGzip{src: body}
	default:
		return nil, &Exception{codeNotImplemented, "NOT_IMPLEMENTED", "Unknown http encoding type: " + enc}
	}
	return body, nil
}

// lazyGzip reads gzip; an empty body is no error.
type lazyGzip struct {
	src io.Reader
	z   *gzip.Reader
}

func (l *lazyGzip) Read(p []byte) (int, error) {
	if l.z == nil {
		z, err := gzip.NewReader(l.src)
		if err != nil {
			return 0, err
		}
		l.z = z
	}
	return l.z.Read(p)
}

// bounded fails, rather than ends, when more than left bytes are read.
type bounded struct {
	src  io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the body is larger than DRAY_ENGINE_MAX_BODY")
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.src.Read(p)
	b.left -= int64(n)
	return n, err
}

func acceptsGzip(r *http.Request, values url.Values) bool {
	if values.Get("enable_http_compression") == "0" {
		return false
	}
	for _, coding := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if name == "gzip" {
			return true
		}
	}
	return false
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// contentType is what ClickHouse says of a format.
func contentType(format string) string {
	switch {
	case format == "TabSeparated" || strings.HasPrefix(format, "TSV") || strings.HasPrefix(format, "TabSeparated"):
		return "text/tab-separated-values; charset=UTF-8"
	case strings.HasPrefix(format, "CSV"):
		header := "absent"
		if strings.Contains(format, "WithNames") {
			header = "present"
		}
		return "text/csv; charset=UTF-8; header=" + header
	case strings.HasSuffix(format, "EachRow") && strings.HasPrefix(format, "JSON"), format == "NDJSON", format == "JSONLines":
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
