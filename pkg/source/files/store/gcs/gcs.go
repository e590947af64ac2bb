// Package gcs is the store of Google Cloud Storage, by its JSON API.
//
// Three requests are all that is needed, so it makes them itself: the generated
// client would add gRPC and 10 MB to the binary. Credentials are found and
// renewed by Google's own library, in the order of Application Default
// Credentials: the file that GOOGLE_APPLICATION_CREDENTIALS names, what gcloud
// left, the metadata server of the machine.
//
// The version of an object is its generation. Each read names the one that it is
// for, and the server compares.
package gcs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/auth"

	"drayage/pkg/allow"
	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/store"
)

// Config says how a bucket is reached. Its zero value is Google's own servers,
// with the credentials that this machine has.
type Config struct {
	// Endpoint is the address of a server of the JSON API, such as
	// https://storage-me.p.googleapis.com of a private network; by default what
	// STORAGE_EMULATOR_HOST names, which is asked without credentials, or Google.
	Endpoint string
	// CredentialsFile is a file of credentials, such as the key of a service
	// account, in place of what the environment has.
	CredentialsFile string
	// Anonymous reads a public bucket without credentials.
	Anonymous bool
	// UserProject is the project that pays for the requests, where the bucket
	// wants the reader to.
	UserProject string
	// Seats bounds the connections; nil: unbounded.
	Seats source.Seats
	// Allow says which hosts may be reached; nil: all.
	Allow *allow.Rules
}

const (
	google       = "https://storage.googleapis.com"
	emulator     = "STORAGE_EMULATOR_HOST"
	pageSize     = 1000 // objects of a page of the listing, the most that there may be
	maxPage      = 16 << 20
	objectFields = "name,size,generation,updated"
)

// Validate reports the mistakes in c, the fields below "gcs", or nil.
func (c Config) Validate() source.FieldErrors {
	var all source.FieldErrors
	bad := func(field, problem, hint string) {
		all = append(all, &source.FieldError{Field: "gcs." + field, Problem: problem, Hint: hint})
	}
	store.CheckEndpoint(c.Endpoint, "http://localhost:4443", "credentials_file", bad)
	if c.Anonymous && c.CredentialsFile != "" {
		bad("anonymous", "is true beside credentials_file", "drop one of the two")
	}
	return all
}

// Store is a bucket. It implements store.Store.
type Store struct {
	cfg    Config
	bucket string
	base   string // of the addresses of objects: …/storage/v1/b/BUCKET/o
	http   http.RoundTripper
	page   int
	pause  time.Duration // before the second attempt

	mu    sync.Mutex
	creds *auth.Credentials // nil before the first request with credentials
}

var _ store.Store = (*Store)(nil)

// New returns the store of a bucket. It reads no credentials yet and connects to
// nothing.
func New(cfg Config, bucket string) *Store {
	endpoint := cfg.Endpoint
	if host := os.Getenv(emulator); endpoint == "" && host != "" {
		cfg.Anonymous = true
		if endpoint = host; !strings.Contains(host, "://") {
			endpoint = "http://" + host
		}
	}
	endpoint = strings.TrimSuffix(cmp.Or(endpoint, google), "/")
	endpoint = strings.TrimSuffix(endpoint, "/storage/v1")
	return &Store{
		cfg: cfg, bucket: bucket, page: pageSize, pause: firstPause,
		base: endpoint + "/storage/v1/b/" + url.PathEscape(bucket) + "/o",
		http: store.NewTransport(cfg.Seats, cfg.Allow),
	}
}

// resource is an object as the API describes it.
type resource struct {
	Name       string    `json:"name"`
	Size       int64     `json:"size,string"`
	Generation string    `json:"generation"`
	Updated    time.Time `json:"updated"`
}

func (r resource) object() store.Object {
	return store.Object{Key: r.Name, Size: r.Size, Version: r.Generation, Modified: r.Updated}
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix, after string, yield func(store.Object) error) error {
	what := s.named(prefix)
	token, last := "", after
	for {
		query := url.Values{
			"prefix":     {prefix},
			"maxResults": {strconv.Itoa(s.page)},
			"fields":     {"nextPageToken,items(" + objectFields + ")"},
		}
		if token != "" {
			query.Set("pageToken", token)
		}
		if after != "" {
			query.Set("startOffset", after) // which is listed as well
		}
		var page struct {
			Items         []resource `json:"items"`
			NextPageToken string     `json:"nextPageToken"`
		}
		err := s.describe(ctx, what, s.base, query, &page)
		if answered(err, http.StatusNotFound) {
			return job.Permanentf("%s: there is no such bucket, look at its name", what)
		}
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			switch {
			case item.Name == after && after != "":
				continue
			case item.Name <= last && last != "":
				return job.Permanentf("%s: the server lists %q after %q: the order of its listings is not that of the keys", what, item.Name, last)
			}
			last = item.Name
			if err := yield(item.object()); err != nil {
				return err
			}
		}
		if page.NextPageToken == "" {
			return nil
		}
		if page.NextPageToken == token {
			return job.Permanentf("%s: the server gives the same page of the listing again", what)
		}
		token = page.NextPageToken
	}
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, key string) (store.Object, error) {
	what := s.named(key)
	var found resource
	if err := s.describe(ctx, what, s.address(key), url.Values{"fields": {objectFields}}, &found); err != nil {
		return store.Object{}, err
	}
	if found.Generation == "" {
		return store.Object{}, job.Permanentf("%s: the server gives no generation, so the version can not be told", what)
	}
	o := found.object()
	o.Key = key
	return o, nil
}

// Read implements store.Store.
func (s *Store) Read(ctx context.Context, o store.Object, start, end int64) (io.ReadCloser, error) {
	what := s.named(o.Key)
	if start >= end {
		return http.NoBody, s.compare(ctx, o)
	}
	header := http.Header{
		"Range": {fmt.Sprintf("bytes=%d-%d", start, end-1)},
		// Else the server unpacks what is stored with an encoding.
		"Accept-Encoding": {"gzip"},
	}
	res, err := s.get(ctx, what, s.address(o.Key), url.Values{"alt": {"media"}, "ifGenerationMatch": {o.Version}}, header)
	if err != nil {
		if answered(err, http.StatusRequestedRangeNotSatisfiable) {
			if other := s.compare(ctx, o); other != nil {
				return nil, other
			}
		}
		return nil, err
	}
	switch generation := res.Header.Get("X-Goog-Generation"); {
	case generation != "" && generation != o.Version:
		err = job.Permanentf("%s: %w", what, store.ErrChanged) // of a server that does not compare
	case !holds(res, start, end):
		err = job.WithClass(fmt.Errorf("%s: the server answered %s with %q, %d bytes, when asked for the bytes %d to %d",
			what, res.Status, res.Header.Get("Content-Range"), res.ContentLength, start, end-1), job.Retry)
	default:
		return store.Exactly(what, res.Body, end-start), nil
	}
	_ = res.Body.Close() // it is not read
	return nil, err
}

// holds reports whether an answer is the range that was asked for.
func holds(res *http.Response, start, end int64) bool {
	if res.StatusCode == http.StatusOK {
		return start == 0 && res.ContentLength == end
	}
	return strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/", start, end-1))
}

// compare says whether the object is still the version o.
func (s *Store) compare(ctx context.Context, o store.Object) error {
	now, err := s.Stat(ctx, o.Key)
	if err == nil && now.Version != o.Version {
		err = job.Permanentf("%s: %w", s.named(o.Key), store.ErrChanged)
	}
	return err
}

// named is the name of an object in errors.
func (s *Store) named(key string) string { return "gs://" + s.bucket + "/" + key }

// address is where the API has an object.
func (s *Store) address(key string) string { return s.base + "/" + url.PathEscape(key) }

// describe makes a request whose answer is JSON.
func (s *Store) describe(ctx context.Context, what, to string, query url.Values, into any) error {
	return s.again(ctx, what, func() error {
		res, err := s.try(ctx, what, to, query, http.Header{})
		if err != nil {
			return err
		}
		defer res.Body.Close()
		data, err := io.ReadAll(io.LimitReader(res.Body, maxPage))
		if err == nil {
			err = json.Unmarshal(data, into)
		}
		if err != nil {
			// A proxy may have answered, and the next attempt may meet the server.
			return unanswered(ctx, what, fmt.Errorf("the answer can not be read: %w", err))
		}
		return nil
	})
}

// get makes a request for the bytes of an object.
func (s *Store) get(ctx context.Context, what, to string, query url.Values, header http.Header) (*http.Response, error) {
	var res *http.Response
	err := s.again(ctx, what, func() (err error) {
		res, err = s.try(ctx, what, to, query, header) //nolint:bodyclose // the caller does
		return err
	})
	return res, err
}
