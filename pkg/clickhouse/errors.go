package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"drayage/pkg/job"
)

// Errors of Open, and of any call while the server is away.
var (
	// ErrUnavailable: nobody answers at the address. Its class is
	// job.SlowDown: that is no fault of the chunk that met it.
	ErrUnavailable = errors.New("ClickHouse can not be reached")
	// ErrAuth: the server refused the user or the password. job.Permanent.
	ErrAuth = errors.New("ClickHouse refused the user name or password")
	// ErrVersion: the server is too old. job.Permanent.
	ErrVersion = errors.New("ClickHouse is too old")
)

// errNoAnswer marks a timeout that was not the caller's.
var errNoAnswer = errors.New("no answer in time")

// Exception is an error that ClickHouse itself reported. Find it with
// errors.As and branch on Code.
type Exception struct {
	Code    int32  // a code of ClickHouse, above 0
	Name    string // its name, such as UNKNOWN_TABLE; "" when the server did not say
	Message string // without code, name and version; it quotes no password of ours
	Status  int    // the HTTP status, 0 when it came after a 200
}

func (e *Exception) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("%s (ClickHouse code %d)", e.Message, e.Code)
	}
	return fmt.Sprintf("%s (ClickHouse code %d, %s)", e.Message, e.Code, e.Name)
}

// Memory reports whether the server lacked memory for the statement, its own or
// what the user is allowed.
func (e *Exception) Memory() bool { return e.Code == 241 || e.Code == 173 } // MEMORY_LIMIT_EXCEEDED, CANNOT_ALLOCATE_MEMORY

// Is makes the codes that refuse a login match ErrAuth.
func (e *Exception) Is(target error) bool {
	if target != ErrAuth {
		return false
	}
	switch e.Code {
	case codeUnknownUser, codeWrongPassword, codeRequiredPassword, codeAuthenticationFailed:
		return true
	}
	return false
}

// SyntaxError is a statement that ClickHouse could not parse. It wraps the
// Exception. Its class is job.Permanent.
type SyntaxError struct {
	// Line and Column of the text the caller gave, from 1, in bytes; both 0
	// when the server named no place or one outside of that text.
	Line, Column int
	// Offset in bytes from the start of the caller's text, -1 when unknown.
	Offset int
	Err    *Exception
}

func (e *SyntaxError) Error() string {
	short := *e.Err // ClickHouse goes on to list all that it would have understood
	if cut, _, ok := strings.Cut(short.Message, "Expected one of:"); ok {
		short.Message = strings.TrimSpace(cut)
	}
	if e.Line == 0 {
		return short.Error()
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, short.Error())
}

// Unwrap returns the exception.
func (e *SyntaxError) Unwrap() error { return e.Err }

// ClassOf says what an error that came from ClickHouse, or from the way to it,
// means for a chunk. The errors of this package carry it as a mark already, so
// job.ClassOf gives the same.
//
// A mark outranks all. Then: an exception goes by the table; a server that can
// not be reached is job.SlowDown; a certificate that can not be verified is
// job.Permanent; an HTTP status without an exception (a proxy's) is SlowDown
// for 429, 502, 503 and 504 and Permanent for the other 4xx; every other
// error, the end of a context and a broken connection among them, is
// job.Retry. Only Load knows whether such an end leaves the outcome open.
func ClassOf(err error) job.Class {
	if c := job.ClassOf(err); c != job.Retry { // Retry is also "no mark"
		return c
	}
	var (
		own    *Exception
		theirs *ch.Exception
		status *ch.HTTPError
		cert   *tls.CertificateVerificationError
		record tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &own):
		return verdicts[own.Code].class // Retry when it is not there
	case errors.As(err, &theirs):
		return verdicts[theirs.Code].class
	case errors.As(err, &status):
		switch {
		case status.StatusCode == http.StatusTooManyRequests, status.StatusCode >= 502 && status.StatusCode <= 504:
			return job.SlowDown
		case status.StatusCode >= 400 && status.StatusCode < 500:
			return job.Permanent
		}
		return job.Retry
	case errors.As(err, &cert), errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch), errors.Is(err, errNotNative), errors.Is(err, ErrVersion):
		return job.Permanent
	case errors.Is(err, context.Canceled):
		return job.Retry
	case unreachable(err):
		return job.SlowDown
	}
	return job.Retry
}

// unreachable reports whether no connection came about at all.
func unreachable(err error) bool {
	var op *net.OpError
	return errors.Is(err, ErrUnavailable) || errors.Is(err, errNoAnswer) || errors.Is(err, ch.ErrAcquireConnTimeout) ||
		errors.As(err, &op) && op.Op == "dial"
}

// fail wraps an error of clickhouse-go with what was being done, turns
// exceptions into ours, marks the class, and leaves out what must not be read:
// credentials, and URLs that repeat whole statements.
func (c *Client) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	if x := c.exception(err); x != nil {
		if x.Is(ErrAuth) {
			return job.WithClass(fmt.Errorf("%s: %w (user %s at %s): %w; check DRAY_CLICKHOUSE_USER and DRAY_CLICKHOUSE_PASSWORD",
				what, ErrAuth, c.end.user, c.end.people(), x), job.Permanent)
		}
		return job.WithClass(fmt.Errorf("%s: %w", what, x), ClassOf(x))
	}
	class := ClassOf(err)
	var (
		outer  *url.Error
		status *ch.HTTPError
	)
	switch {
	case errors.As(err, &status):
		// The body of a proxy's answer may be a whole page, and is nobody's
		// business: the status says enough.
		cause := &scrubbed{fmt.Sprintf("%s answered with HTTP status %d %s, and not as ClickHouse does", c.end.people(), status.StatusCode, http.StatusText(status.StatusCode)), status}
		if status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden {
			return job.WithClass(fmt.Errorf("%s: %w: %w", what, ErrAuth, cause), job.Permanent)
		}
		return job.WithClass(fmt.Errorf("%s: %w", what, cause), class)
	case errors.Is(err, errNoAnswer): // its text is ours
	case errors.As(err, &outer):
		err = outer.Err
	}
	if unreachable(err) {
		return job.WithClass(fmt.Errorf("%s: %w at %s: %w; check DRAY_CLICKHOUSE_URL and that the server runs",
			what, ErrUnavailable, c.end.people(), err), class)
	}
	return job.WithClass(fmt.Errorf("%s: %w", what, c.scrub(err)), class)
}

// exception finds a server's exception in err.
func (c *Client) exception(err error) *Exception {
	var own *Exception
	if errors.As(err, &own) {
		return own
	}
	var theirs *ch.Exception
	if !errors.As(err, &theirs) {
		return nil
	}
	x := &Exception{Code: theirs.Code, Name: theirs.CodeName, Message: theirs.Message}
	if x.Name == "" {
		x.Name = verdicts[x.Code].name
	}
	for before := ""; before != x.Message; { // some come with two of each
		before = x.Message
		x.Message = strings.TrimSpace(versionSuffix.ReplaceAllString(x.Message, ""))
		x.Message = strings.TrimSpace(strings.TrimSuffix(x.Message, "("+x.Name+")"))
	}
	x.Message = c.hide(strings.TrimPrefix(x.Message, "DB::Exception: "))
	var status *ch.HTTPError
	if errors.As(err, &status) {
		x.Status = status.StatusCode
	}
	return x
}

var versionSuffix = regexp.MustCompile(`\s*\(version [^()]*(\([^()]*\))?\)[.\s]*$`)

// hide blanks the password. Servers do not repeat it; a table function that a
// user wrote it into might.
func (c *Client) hide(text string) string {
	if len(c.end.password) < 4 { // it would blank half the text
		return text
	}
	return strings.ReplaceAll(text, c.end.password, "***")
}

// scrubbed is an error whose text was changed; the original remains
// reachable for errors.Is and errors.As.
type scrubbed struct {
	text string
	err  error
}

func (s *scrubbed) Error() string { return s.text }
func (s *scrubbed) Unwrap() error { return s.err }

func (c *Client) scrub(err error) error {
	text := err.Error()
	if hidden := c.hide(text); hidden != text {
		return &scrubbed{hidden, err}
	}
	return err
}

// syntax gives a syntax error its place in the text that the caller wrote,
// which starts at byte prefix of the statement that was sent. Other errors
// are returned as they are.
func syntax(what string, err error, text string, prefix int) error {
	var x *Exception
	if !errors.As(err, &x) || x.Code != codeSyntaxError {
		return err
	}
	s := &SyntaxError{Offset: -1, Err: x}
	if m := position.FindStringSubmatch(x.Message); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n-1 >= prefix && n-1-prefix <= len(text) {
			s.Offset = n - 1 - prefix
			s.Line = 1 + strings.Count(text[:s.Offset], "\n")
			s.Column = s.Offset - strings.LastIndexByte(text[:s.Offset], '\n')
		}
	}
	return job.WithClass(fmt.Errorf("%s: %w", what, s), job.Permanent)
}

// position is how ClickHouse words the place of a syntax error.
var position = regexp.MustCompile(`failed at position (\d+)`)
