package gcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"

	"drayage/pkg/allow"
	"drayage/pkg/job"
)

const (
	attempts   = 4
	firstPause = 250 * time.Millisecond // each further one is twice as long
	longest    = 5 * time.Second        // that the server may ask to wait
	scope      = "https://www.googleapis.com/auth/devstorage.read_only"
)

// again calls try again while that may help.
func (s *Store) again(ctx context.Context, what string, try func() error) error {
	for attempt := 1; ; attempt++ {
		err := try()
		if err == nil || job.ClassOf(err) == job.Permanent || ctx.Err() != nil || attempt == attempts {
			return err
		}
		wait := s.pause << (attempt - 1)
		wait += time.Duration(rand.Int64N(int64(wait)/2 + 1)) //nolint:gosec // spreads load
		var answer *answerError
		if errors.As(err, &answer) && answer.after > wait {
			if wait = answer.after; wait > longest {
				return err
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ended(ctx, what)
		}
	}
}

// try makes a request once. Its error is classified.
func (s *Store) try(ctx context.Context, what, to string, query url.Values, header http.Header) (*http.Response, error) {
	if s.cfg.UserProject != "" {
		query.Set("userProject", s.cfg.UserProject)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to+"?"+query.Encode(), nil)
	if err != nil {
		return nil, job.Permanentf("%s: %w", what, err)
	}
	req.Header = header.Clone()
	if err := s.authorize(ctx, what, req); err != nil {
		return nil, err
	}
	// Not an http.Client: credentials follow no redirect.
	res, err := s.http.RoundTrip(req)
	if err != nil {
		return nil, unanswered(ctx, what, err)
	}
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusPartialContent {
		return res, nil
	}
	defer res.Body.Close()
	return nil, s.refused(what, res)
}

// authorize adds the token of the credentials to a request.
func (s *Store) authorize(ctx context.Context, what string, req *http.Request) error {
	if s.cfg.Anonymous {
		return nil
	}
	creds, err := s.credentials()
	if err != nil {
		return job.Permanentf("%s: %w", what, err)
	}
	token, err := creds.Token(ctx)
	if err != nil {
		return tokenless(ctx, what, err)
	}
	req.Header.Set("Authorization", "Bearer "+token.Value)
	if project, err := creds.QuotaProjectID(ctx); err == nil && project != "" && s.cfg.UserProject == "" {
		req.Header.Set("X-Goog-User-Project", project)
	}
	return nil
}

// credentials finds those of the configuration or of this machine, with the
// first request.
func (s *Store) credentials() (*auth.Credentials, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.creds != nil {
		return s.creds, nil
	}
	options := &credentials.DetectOptions{Scopes: []string{scope}}
	var found *auth.Credentials
	var err error
	if s.cfg.CredentialsFile != "" {
		found, err = fromFile(s.cfg.Allow, s.cfg.CredentialsFile, options)
	} else if found, err = credentials.DetectDefault(options); err != nil {
		err = fmt.Errorf("there are no usable Google credentials: set GOOGLE_APPLICATION_CREDENTIALS to a file of them, "+
			"run gcloud auth application-default login, or write gcs: {anonymous: true} for a public bucket: %w", err)
	}
	if err != nil {
		return nil, err
	}
	s.creds = found
	return found, nil
}

// fromFile reads credentials of any kind that Google has.
func fromFile(allow *allow.Rules, path string, options *credentials.DetectOptions) (*auth.Credentials, error) {
	data, err := allow.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("credentials_file can not be read: %w", err)
	}
	var kind struct {
		Type credentials.CredType `json:"type"`
	}
	if err := json.Unmarshal(data, &kind); err != nil || kind.Type == "" {
		// What the parser says may show a part of the key.
		return nil, fmt.Errorf("credentials_file %s holds no credentials of Google: JSON with a type, such as the key of a service account", path)
	}
	found, err := credentials.NewCredentialsFromJSON(kind.Type, data, options)
	if err != nil {
		return nil, fmt.Errorf("credentials_file %s can not be used: %w", path, err)
	}
	return found, nil
}

// retryAfter is how long an answer asks to wait, 0 where it does not.
func retryAfter(res *http.Response) time.Duration {
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
