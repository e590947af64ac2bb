package gcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"cloud.google.com/go/auth"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
)

// The errors of this package and what they are for a chunk. Each names bucket
// and key, and shows no token and nothing of a key.
//
//	what happened                                          class      errors.Is
//	-----------------------------------------------------  ---------  -----------
//	404 of an object                                       Permanent  ErrNotFound
//	404 of a listing: there is no such bucket              Permanent
//	412, or another generation came: another version       Permanent  ErrChanged
//	401, 403: no right, credentials that are not valid     Permanent
//	403 for too many requests, by its reason               SlowDown
//	other 3xx and 4xx                                      Permanent
//	429, 503, after the attempts                           SlowDown
//	408, other 5xx, after the attempts                     Retry
//	an answer that is not what was asked for               Retry
//	no such host, a certificate that is not trusted        Permanent
//	no connection, or it broke                             Retry
//	no credentials anywhere, a file that has none          Permanent
//	a token that is refused                                Permanent
//	a token server that fails or does not answer           Retry

// ended is the error of a call whose context has ended.
func ended(ctx context.Context, what string) error {
	return fmt.Errorf("%s: %w", what, context.Cause(ctx))
}

const (
	maxAnswer = 64 << 10 // of an error, in bytes
	excerpt   = 300      // of it in ours
)

// answerError is an answer that is not the one hoped for.
type answerError struct {
	status int
	after  time.Duration // that the server asks to wait
	text   string
	is     error // store.ErrNotFound or store.ErrChanged, or nil
}

func (e *answerError) Error() string {
	if e.is != nil {
		return e.is.Error()
	}
	return e.text
}

func (e *answerError) Unwrap() error { return e.is }

// answered reports whether err is an answer of that status.
func answered(err error, status int) bool {
	var a *answerError
	return errors.As(err, &a) && a.status == status
}

// busy are the reasons of a 403 that means 429.
var busy = map[string]bool{
	"rateLimitExceeded": true, "userRateLimitExceeded": true, "quotaExceeded": true,
}

// refused is what an answer means.
func (s *Store) refused(what string, res *http.Response) error {
	// What is not read says nothing.
	data, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	var said struct {
		Error struct {
			Message string
			Errors  []struct{ Reason string }
		}
	}
	_ = json.Unmarshal(data, &said) // of a proxy it is no JSON
	reason := ""
	if all := said.Error.Errors; len(all) > 0 {
		reason = all[0].Reason
	}
	code := res.StatusCode
	answer := &answerError{status: code, after: retryAfter(res)}
	answer.text = strings.TrimSpace(fmt.Sprintf("the server answered %d %s", code, store.Clip(said.Error.Message, excerpt)))
	mark := func(class job.Class, hint string) error {
		if hint != "" {
			hint = ": " + hint
		}
		return job.WithClass(fmt.Errorf("%s: %w%s", what, answer, hint), class)
	}
	switch {
	case code == http.StatusNotFound:
		answer.is = store.ErrNotFound
		return mark(job.Permanent, "")
	case code == http.StatusPreconditionFailed:
		answer.is = store.ErrChanged
		return mark(job.Permanent, "")
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable, code == http.StatusForbidden && busy[reason]:
		return mark(job.SlowDown, "")
	case code == http.StatusUnauthorized && s.cfg.Anonymous, code == http.StatusForbidden && s.cfg.Anonymous:
		return mark(job.Permanent, "the bucket is not public: drop gcs.anonymous, so that credentials are used")
	case code == http.StatusUnauthorized:
		return mark(job.Permanent, "the credentials are not valid: renew them")
	case code == http.StatusForbidden:
		return mark(job.Permanent, "give the credentials the role Storage Object Viewer (roles/storage.objectViewer) of the bucket")
	case code == http.StatusBadRequest && reason == "required":
		return mark(job.Permanent, "where the bucket wants the reader to pay, write gcs: {user_project: NAME}")
	case code == http.StatusRequestTimeout, code >= http.StatusInternalServerError:
		return mark(job.Retry, "")
	}
	return mark(job.Permanent, "")
}

// unanswered is the error of a request that got no answer, or not all of it.
func unanswered(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ended(ctx, what)
	}
	return store.Unanswered(what, "gcs.endpoint, or at "+emulator, err, err)
}

// tokenless is the error of credentials that give no token.
func tokenless(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ended(ctx, what)
	}
	var refused *auth.Error
	if !errors.As(err, &refused) || refused.Response == nil {
		return unanswered(ctx, what, fmt.Errorf("the credentials give no token: %w", err))
	}
	var said struct {
		Error       any
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(refused.Body, &said) // it may be a page
	code, class := refused.Response.StatusCode, job.Permanent
	if refused.Temporary() || code >= http.StatusInternalServerError || code == http.StatusTooManyRequests {
		class = job.Retry
	}
	hint := ""
	if class == job.Permanent {
		hint = ": renew them, such as with gcloud auth application-default login or a new key of the service account"
	}
	why, _ := said.Error.(string) // invalid_grant and its kin
	return job.WithClass(fmt.Errorf("%s: the credentials give no token, the server answered %d %s%s",
		what, code, store.Clip(why+" "+said.Description, excerpt), hint), class)
}
