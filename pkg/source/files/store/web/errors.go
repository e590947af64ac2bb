package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
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

// permanent makes an error that no retry cures.
func permanent(text string, args ...any) error {
	return job.WithClass(fmt.Errorf(text, args...), job.Permanent)
}

// again makes an error that a later attempt may not meet.
func again(text string, args ...any) error {
	return job.WithClass(fmt.Errorf(text, args...), job.Retry)
}

// mayPass reports whether the next request may go well.
func mayPass(err error) bool { return job.ClassOf(err) != job.Permanent }

// status makes an error of an answer that is none.
func (s *Store) status(key string, res *http.Response) error {
	name, code := s.name(key), res.StatusCode
	said := fmt.Sprintf("%s: the server answered %d %s", name, code, http.StatusText(code))
	switch {
	case code == http.StatusNotFound || code == http.StatusGone:
		return permanent("%s: %w", said, store.ErrNotFound)
	case code == http.StatusPreconditionFailed:
		return permanent("%s: %w", name, store.ErrChanged)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return permanent("%s: look at http.headers, at the user and password of the address, or whether its signature is still valid", said)
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		return job.WithClass(errors.New(said), job.SlowDown)
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code >= 500:
		return again("%s", said)
	}
	return permanent("%s", said)
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
	var host *net.DNSError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &host) && host.IsNotFound && !host.IsTemporary:
		return permanent("%s: there is no host %s", s.name(key), host.Name)
	case errors.As(err, &untrusted):
		return permanent("%s: the certificate of the server is not trusted: %w", s.name(key), err)
	case errors.Is(err, errRedirects), errors.Is(err, errInsecure):
		return permanent("%s: %w", s.name(key), err)
	}
	return job.WithClass(fmt.Errorf("%s: %w", s.name(key), err), job.ClassOf(err))
}
