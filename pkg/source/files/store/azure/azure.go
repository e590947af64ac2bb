// Package azure is the store of Azure Blob Storage, and of accounts of Data Lake
// Storage by the same protocol.
//
// An address is az://CONTAINER/KEY, where configuration or environment name the
// account, as adlfs and DuckDB have it; or az://HOST/CONTAINER/KEY with the host
// of an account, such as mine.blob.core.windows.net, which DuckDB has as well.
//
// The version of an object is its ETag. Each read names the one that it is for,
// and the server compares.
package azure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
)

const (
	pageSize   = 5000 // objects of a page of the listing, the most that there may be
	retries    = 3
	firstPause = 250 * time.Millisecond
	longest    = 5 * time.Second // that the server may ask to wait
)

// Store is a container, or all containers of an account. It implements
// store.Store.
type Store struct {
	cfg       Config
	container string // "": the first part of each key
	host      string // of the account, where the address names it
	http      http.RoundTripper
	page      int32
	pause     time.Duration // before the second attempt

	mu     sync.Mutex
	client *service.Client // nil before the first call
	who    identity        // of client
}

var _ store.Store = (*Store)(nil)

// New returns the store of a container; or of the account whose host it names,
// the container being the first part of each key. It reads no credentials yet
// and connects to nothing.
func New(cfg Config, bucket string) (*Store, error) {
	s := &Store{cfg: cfg, http: store.NewTransport(cfg.Seats, cfg.Allow), page: pageSize, pause: firstPause}
	if !strings.ContainsAny(bucket, ".:") { // which no name of a container has
		s.container = bucket
		return s, nil
	}
	host, err := accountHost(bucket)
	s.host = host
	return s, err
}

// connected makes the client, with the first call.
func (s *Store) connected(what string) (*service.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	who, err := s.cfg.identity(s.host)
	if err != nil {
		return nil, job.Permanentf("%s: %w", what, err)
	}
	client, err := who.connect(&service.ClientOptions{ClientOptions: s.options()})
	if err != nil {
		return nil, job.Permanentf("%s: %w", what, who.hide(err))
	}
	s.client, s.who = client, who
	return client, nil
}

func (s *Store) options() azcore.ClientOptions {
	var o azcore.ClientOptions
	o.Transport = transport{s.http}
	o.Telemetry.ApplicationID = "drayage"
	o.Retry.MaxRetries = retries
	o.Retry.RetryDelay = s.pause
	o.Retry.MaxRetryDelay = longest
	return o
}

// transport makes requests. Not an http.Client: credentials follow no redirect,
// and its errors show no address, which may hold a signature.
type transport struct{ http.RoundTripper }

// Do implements policy.Transporter.
func (t transport) Do(req *http.Request) (*http.Response, error) { return t.RoundTrip(req) }

// open returns the client of a container and the name of an object in it, of
// a key or a prefix.
func (s *Store) open(key string) (client *container.Client, name, what string, err error) {
	what = s.named(key)
	in, name := s.container, key
	if in == "" {
		var found bool
		if in, name, found = strings.Cut(key, "/"); !found || in == "" {
			return nil, "", what, job.Permanentf("%s: it names no container: write az://%s/CONTAINER/…", what, s.host)
		}
	}
	account, err := s.connected(what)
	if err != nil {
		return nil, "", what, err
	}
	return account.NewContainerClient(in), name, what, nil
}

// List implements store.Store. The order is that of the UTF-16 of the keys; in an
// account with a hierarchical namespace (Data Lake Storage) that of their parts
// between slashes: a/b comes before a-b.
//
// The server is asked to start at after. Servers from before 2026 do not know
// that: they list from the begin of the prefix, and what comes before is passed
// over, at the cost of a request for each 5,000 objects.
func (s *Store) List(ctx context.Context, prefix, after string, yield func(store.Object) error) error {
	client, name, what, err := s.open(prefix)
	if err != nil {
		return err
	}
	within := strings.TrimSuffix(prefix, name) // the container, where keys have it
	options := &container.ListBlobsFlatOptions{MaxResults: &s.page}
	if name != "" {
		options.Prefix = &name
	}
	switch start, ok := strings.CutPrefix(after, within); {
	case ok && start > name:
		options.StartFrom = &start // which is listed as well
	case !ok && after > prefix:
		return nil // all of it comes before
	}
	last := after
	for pages := client.NewListBlobsFlatPager(options); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return s.failure(ctx, what, err)
		}
		if page.Segment == nil {
			return job.Retryf("%s: the answer is no listing", what)
		}
		before := orderOf(page.Segment.BlobItems)
		for _, item := range page.Segment.BlobItems {
			o, err := object(within, item)
			switch {
			case err != nil:
				return job.Permanentf("%s: %w", what, err)
			case last != "" && !before(last, o.Key):
				if last == after {
					continue // of a server that does not start there
				}
				return job.Permanentf("%s: the server lists %q after %q: the order of its listings is not known", what, o.Key, last)
			}
			last = o.Key
			if folder(item) {
				continue
			}
			if err := yield(o); err != nil {
				return err
			}
		}
	}
	return nil
}

// folder reports whether an entry is a folder of Data Lake Storage.
func folder(item *container.BlobItem) bool {
	return item.Properties.ResourceType != nil && *item.Properties.ResourceType == "directory"
}

// orderOf returns the order of a listing: whether key a comes before b. Only
// accounts with a hierarchical namespace say which entries are files.
func orderOf(items []*container.BlobItem) func(a, b string) bool {
	for _, item := range items {
		if item.Properties != nil && item.Properties.ResourceType != nil {
			return func(a, b string) bool { return ordinal(parts(a), parts(b)) < 0 }
		}
	}
	return func(a, b string) bool { return ordinal(a, b) < 0 }
}

// parts is a text whose order among its like is that of the parts of keys.
func parts(key string) string { return strings.ReplaceAll(key, "/", "\x00") }

// ordinal compares texts by the units of their UTF-16, as Microsoft does. That
// is the order of their bytes but for characters beyond U+FFFF, which come
// before those from U+E000 on.
func ordinal(a, b string) int {
	for i := range min(len(a), len(b)) {
		if x, y := a[i], b[i]; x != y {
			// The first bytes of characters: 0xEE and 0xEF from U+E000 on, 0xF0
			// and more beyond U+FFFF.
			if x >= 0xEE && y >= 0xEE && (x >= 0xF0) != (y >= 0xF0) {
				return cmp.Compare(y, x)
			}
			return cmp.Compare(x, y)
		}
	}
	return cmp.Compare(len(a), len(b))
}

// object is an entry of a listing.
func object(within string, item *container.BlobItem) (store.Object, error) {
	p := item.Properties
	if item.Name == nil || p == nil || p.ETag == nil || p.ContentLength == nil {
		return store.Object{}, errors.New("the server lists an object without name, size or ETag")
	}
	o := store.Object{Key: within + *item.Name, Size: *p.ContentLength, Version: bare(*p.ETag)}
	if p.LastModified != nil {
		o.Modified = *p.LastModified
	}
	return o, nil
}

// bare is an ETag without its quotes, which listings leave out.
func bare(tag azcore.ETag) string { return strings.Trim(string(tag), `"`) }

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, key string) (store.Object, error) {
	client, name, what, err := s.open(key)
	if err != nil {
		return store.Object{}, err
	}
	res, err := client.NewBlobClient(name).GetProperties(ctx, nil)
	switch {
	case err != nil:
		return store.Object{}, s.failure(ctx, what, err)
	case res.ETag == nil || res.ContentLength == nil:
		return store.Object{}, job.Permanentf("%s: the server gives no ETag or no size, so the version can not be told", what)
	case folderMark(res.Metadata):
		return store.Object{}, job.Permanentf("%s: %w, it is a folder", what, store.ErrNotFound)
	}
	o := store.Object{Key: key, Size: *res.ContentLength, Version: bare(*res.ETag)}
	if res.LastModified != nil {
		o.Modified = *res.LastModified
	}
	return o, nil
}

// folderMark reports whether metadata is that of a folder of Data Lake Storage.
func folderMark(metadata map[string]*string) bool {
	for name, value := range metadata {
		if strings.EqualFold(name, "hdi_isfolder") && value != nil && strings.EqualFold(*value, "true") {
			return true
		}
	}
	return false
}

// Read implements store.Store.
func (s *Store) Read(ctx context.Context, o store.Object, start, end int64) (io.ReadCloser, error) {
	client, name, what, err := s.open(o.Key)
	if err != nil {
		return nil, err
	}
	if start >= end {
		return http.NoBody, s.compare(ctx, o)
	}
	version := azcore.ETag(`"` + o.Version + `"`)
	res, err := client.NewBlobClient(name).DownloadStream(ctx, &blob.DownloadStreamOptions{
		Range:            blob.HTTPRange{Offset: start, Count: end - start},
		AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: &version}},
	})
	var answer *azcore.ResponseError
	switch {
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusRequestedRangeNotSatisfiable || answer.StatusCode == http.StatusPreconditionFailed):
		// It may also be gone: no version is none that was asked for.
		if other := s.compare(ctx, o); errors.Is(other, store.ErrNotFound) || errors.Is(other, store.ErrChanged) {
			return nil, other
		}
		return nil, s.failure(ctx, what, err)
	case err != nil:
		return nil, s.failure(ctx, what, err)
	case res.Body == nil:
		return nil, job.Retryf("%s: the answer has no body", what)
	case res.ETag != nil && bare(*res.ETag) != o.Version:
		err = job.Permanentf("%s: %w", what, store.ErrChanged) // of a server that does not compare
	case !holds(res.DownloadResponse, start, end):
		err = job.Retryf("%s: the server answered with %q, when asked for the bytes %d to %d", what, deref(res.ContentRange), start, end-1)
	default:
		return store.Exactly(what, res.Body, end-start), nil
	}
	_ = res.Body.Close() // it is not read
	return nil, err
}

// holds reports whether an answer is the range that was asked for.
func holds(res blob.DownloadResponse, start, end int64) bool {
	if got := deref(res.ContentRange); got != "" {
		return strings.HasPrefix(got, fmt.Sprintf("bytes %d-%d/", start, end-1))
	}
	return start == 0 && res.ContentLength != nil && *res.ContentLength == end
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
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
func (s *Store) named(key string) string {
	if s.container != "" {
		key = s.container + "/" + key
	} else {
		key = s.host + "/" + key
	}
	return "az://" + key
}
