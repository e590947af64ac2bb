package engine

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// request is one HTTP request as the engine understands it.
type request struct {
	query      string // the parameter
	body       io.Reader
	parts      *multipart.Reader // of a form: external tables and the query; body is nil
	values     url.Values
	database   string
	format     string // default_format
	queryID    string
	settings   map[string]string
	parameters map[string]string // of {name:Type}
	protocol   string            // client_protocol_version
	readonly   bool              // GET and HEAD change nothing

	sessionID      string
	sessionTimeout time.Duration
	sessionCheck   bool
	deadline       time.Duration // max_execution_time, 0 for none
}

// notSettings are the parameters of a URL that are neither settings nor named
// in readRequest.
var notSettings = map[string]bool{
	"user": true, "password": true, "quota_key": true, "stacktrace": true, "role": true, "close_session": true,
	"compress": true, "decompress": true, "buffer_size": true, "wait_end_of_query": true,
	"http_write_exception_in_output_format": true,
}

// readRequest reads the parameters of a request.
func (s *server) readRequest(r *http.Request, values url.Values) (*request, error) {
	req := &request{
		values:   values,
		database: r.Header.Get("X-ClickHouse-Database"),
		format:   r.Header.Get(headerFormat),
		readonly: r.Method == http.MethodGet || r.Method == http.MethodHead,
		settings: map[string]string{}, parameters: map[string]string{},
	}
	var err error
	if req.body, err = s.requestBody(r, values); err != nil {
		return nil, err
	}
	if kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "multipart/form-data" {
		req.parts, req.body = multipart.NewReader(req.body, params["boundary"]), nil
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
		case name == "session_id":
			req.sessionID = value
		case name == "session_timeout":
			if req.sessionTimeout, err = sessionTimeout(value); err != nil {
				return nil, err
			}
		case name == "session_check":
			req.sessionCheck = isTrue(value)
		case strings.HasPrefix(name, "param_"):
			req.parameters[strings.TrimPrefix(name, "param_")] = value
		case notSettings[name]:
		case req.parts != nil && isTableParameter(name):
		default:
			req.settings[name] = value
		}
	}
	if req.sessionTimeout == 0 {
		req.sessionTimeout = defaultSessionTimeout
	}
	if seconds, err := strconv.ParseFloat(req.settings["max_execution_time"], 64); err == nil && seconds > 0 {
		req.deadline = time.Duration(seconds * float64(time.Second))
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
		return &Exception{codePassword, "AUTHENTICATION_FAILED", user + ": Authentication failed: password is incorrect, or there is no user with such name."}
	}
	return nil
}

// split reads the statement out of the parameter and the body; data are what
// follows it.
func (req *request) split() (st statement, data io.Reader, err error) {
	query := req.query
	if query != "" {
		// `query=INSERT … FORMAT x`, data in the body, is told by the
		// parameter alone.
		st, _, err := parse([]byte(query), true)
		if err == nil && (st.kind == kindInsert || st.kind == kindInput) {
			rest := query[st.data:]
			if strings.TrimSpace(rest) == "" {
				return st, req.body, nil
			}
			return st, io.MultiReader(strings.NewReader(rest+"\n"), req.body), nil
		}
		query += "\n"
	}
	head := append(make([]byte, 0, max(len(query)+512, 4096)), query...)
	for complete := false; ; {
		if head, complete, err = readMore(head, req.body); err != nil {
			return statement{}, nil, unreadable(err)
		}
		st, again, err := parse(head, complete)
		switch {
		case err != nil:
			return statement{}, nil, err
		case !again && (st.kind == kindInsert || st.kind == kindInput):
			return st, io.MultiReader(strings.NewReader(string(head[st.data:])), req.body), nil
		case !again:
			return st, nil, nil
		case len(head) > maxStatement:
			return statement{}, nil, &Exception{codeSyntax, "SYNTAX_ERROR", fmt.Sprintf("Syntax error: Max query size exceeded: the statement without its data is longer than %d bytes", maxStatement)}
		}
	}
}

// unreadable is the exception for a body that could not be read to its end.
func unreadable(err error) *Exception {
	return &Exception{codeReadAll, "CANNOT_READ_ALL_DATA", "Cannot read all data of the request: " + err.Error()}
}

// readMore reads about as much of body as head already holds.
func readMore(head []byte, body io.Reader) (longer []byte, complete bool, err error) {
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
