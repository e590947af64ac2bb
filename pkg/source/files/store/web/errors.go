package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
)

// The errors of this package and what they are for a chunk. Each names scheme,
// host and path of the address, and never its query, user or password.
//
//	what happened                                          class      errors.Is
//	-----------------------------------------------------  ---------  -----------
//	404, 410                                               Permanent  ErrNotFound
//	412, another ETag, time or size in the answer, 416     Permanent  ErrChanged
//	401, 403, other 4xx, redirects that are not followed   Permanent
//	429, 503, after the attempts                           SlowDown
//	408, 425, other 5xx, after the attempts                Retry
//	no such host, a certificate that is not trusted        Permanent
//	no connection, or it broke                             Retry
//	no ETag and no time of change                          Permanent

// mayPass reports whether the next request may go well.
func mayPass(err error) bool { return job.ClassOf(err) != job.Permanent }

// status makes an error of an answer that is none.
func (s *Store) status(key string, res *http.Response) error {
	name, code := s.name(key), res.StatusCode
	said := fmt.Sprintf("%s: the server answered %d %s", name, code, http.StatusText(code))
	switch {
	case code == http.StatusNotFound || code == http.StatusGone:
		return job.Permanentf("%s: %w", said, store.ErrNotFound)
	case code == http.StatusPreconditionFailed:
		return job.Permanentf("%s: %w", name, store.ErrChanged)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return job.Permanentf("%s: look at http.headers, at the user and password of the address, or whether its signature is still valid", said)
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		return job.WithClass(errors.New(said), job.SlowDown)
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code >= 500:
		return job.Retryf("%s", said)
	}
	return job.Permanentf("%s", said)
}

// unanswered is the error of a request that got no answer, without the address
// that net/http names in full.
func (s *Store) unanswered(ctx context.Context, key string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var full *url.Error
	for errors.As(err, &full) {
		err = full.Err
	}
	if errors.Is(err, errRedirects) || errors.Is(err, errInsecure) {
		return job.Permanentf("%s: %w", s.name(key), err)
	}
	return store.Unanswered(s.name(key), "the address", err, err)
}
