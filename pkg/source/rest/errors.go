package rest

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// The errors of this package and what they are for a chunk. Each names the
// scheme, host and path of the URL and the page, never the query, a header or a
// credential; what the server said is shown without them.
//
//	what happened                                          class
//	-----------------------------------------------------  ---------
//	401, 403                                               Permanent
//	404, 410, other 4xx, a redirect that is not followed   Permanent
//	400, 422                                               Permanent
//	429, after the retries                                 SlowDown
//	a Retry-After longer than the waiting that is left     SlowDown
//	408, 425, 5xx, after the retries                       Retry
//	no connection, silence, broken or truncated answer     Retry
//	the server's certificate is not trusted                Permanent
//	an answer that is not JSON (a page of a proxy)         Retry
//	no records at the path; a record that is no object     Permanent
//	a page, a cursor or a link that repeats                Permanent
//	more than max_pages pages                              Permanent
//	an answer larger than max_page                         Permanent
//	a next link to another host                            Permanent
//	a chunk's description does not parse                   Permanent
//	the chunk can not be cut any further                   Permanent (source.ErrWhole)

// errSilent is the cause of a request that the server let wait too long.
var errSilent = errors.New("the server was silent for longer than timeout")

// failure says why a request could not be made or read. It keeps the cause and
// drops the URL, whose query may hold a secret.
func failure(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var u *url.Error
	for errors.As(err, &u) {
		err = u.Err
	}
	if source.Untrusted(err) {
		return job.Permanentf("the server's certificate is not trusted: %w", err)
	}
	return job.WithClass(err, job.Retry)
}

// secrets hides credentials in what a server said.
type secrets []string

const (
	// minSecret is the length from which a text is worth hiding.
	minSecret = 4
	// opaque is the length from which a value in a query is taken for a secret,
	// whatever its name. A shorter one stands in any text: html, paid.
	opaque = 16
	// secretName is how the names of credentials are recognised.
	secretName = `(?i)[\w-]*(?:token|secret|passw|pwd|key|auth|credential|sig)[\w-]*`
)

var (
	secretInQuery = regexp.MustCompile(secretName)
	// secretInBody finds credentials in JSON and in forms.
	secretInBody = regexp.MustCompile(secretName + `(?:"\s*:\s*"((?:[^"\\]|\\.)*)"|=([^&\s]*))`)
)

func newSecrets(c Config) secrets {
	var all secrets
	add := func(text string) {
		if len(text) >= minSecret {
			all = append(all, text)
			if q := url.QueryEscape(text); q != text {
				all = append(all, q)
			}
		}
	}
	add(c.Bearer)
	if c.Basic != nil {
		add(c.Basic.Password)
	}
	for name, v := range c.Headers {
		switch strings.ToLower(name) {
		case "accept", "content-type", "user-agent", "accept-language":
		default:
			add(v)
			if _, token, ok := strings.Cut(v, " "); ok {
				add(token) // of "Bearer …"
			}
		}
	}
	for _, found := range secretInBody.FindAllStringSubmatch(c.Body, -1) {
		add(found[1] + found[2])
	}
	if u, err := newTemplate(c.URL).url(nil); err == nil {
		for name, values := range u.Query() {
			for _, v := range values {
				if !strings.Contains(v, "{") && (len(v) >= opaque || secretInQuery.MatchString(name)) {
					add(v)
				}
			}
		}
	}
	return all
}

// hidden is an error whose text was cleared of secrets.
type hidden struct {
	err  error
	text string
}

func (h *hidden) Error() string { return h.text }
func (h *hidden) Unwrap() error { return h.err }

// without returns err with the secrets hidden in its text.
func (s secrets) without(err error) error {
	text := err.Error()
	if clear := s.hide(text); clear != text {
		return &hidden{err, clear}
	}
	return err
}

// hide returns text without the secrets.
func (s secrets) hide(text string) string {
	for _, one := range s {
		text = strings.ReplaceAll(text, one, "***")
	}
	return text
}
