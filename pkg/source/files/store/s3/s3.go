// Package s3 is the store of Amazon S3 and of what speaks its protocol.
//
// Credentials are those of the configuration, or those that the AWS tools find:
// AWS_* of the environment, ~/.aws with its profiles, a web identity, the role of
// the machine. Each read names the ETag that it is for, and the server compares.
package s3

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"drayage/pkg/allow"
	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/store"
)

// Config says how a bucket is reached. Its zero value is AWS, with what the
// environment says.
type Config struct {
	// Endpoint is the address of a server that speaks the protocol, such as
	// http://minio:9000; by default what AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL
	// says, or AWS.
	Endpoint string
	// Region of the bucket; by default what the environment or the profile says,
	// or us-east-1.
	Region string
	// Profile is one of ~/.aws/config; by default that of AWS_PROFILE.
	Profile string
	// AccessKey, SecretKey and, of temporary credentials, SessionToken take the
	// place of what the environment has.
	AccessKey, SecretKey, SessionToken string
	// Anonymous reads a public bucket without credentials.
	Anonymous bool
	// PathStyle is true for addresses of the kind endpoint/bucket/key, false for
	// bucket.endpoint/key. nil: true where there is an endpoint.
	PathStyle *bool
	// Seats bounds the connections; nil: unbounded.
	Seats source.Seats
	// Allow says which hosts may be reached; nil: all.
	Allow *allow.Rules
}

// DefaultRegion is that of requests where nothing names one.
const DefaultRegion = "us-east-1"

// attempts is how often a request is made.
const attempts = 3

// Validate reports the mistakes in c, the fields below "s3", or nil.
func (c Config) Validate() source.FieldErrors {
	var all source.FieldErrors
	bad := func(field, problem, hint string) {
		all = append(all, &source.FieldError{Field: "s3." + field, Problem: problem, Hint: hint})
	}
	store.CheckEndpoint(c.Endpoint, "https://minio.example.com:9000", "access_key and secret_key", bad)
	switch {
	case c.AccessKey != "" && c.SecretKey == "":
		bad("secret_key", "is missing beside access_key", "write ${env:NAME}")
	case c.AccessKey == "" && c.SecretKey != "":
		bad("access_key", "is missing beside secret_key", "write ${env:NAME}")
	case c.AccessKey == "" && c.SessionToken != "":
		bad("session_token", "belongs to access_key and secret_key, which are missing", "")
	}
	if c.Anonymous && (c.AccessKey != "" || c.Profile != "") {
		bad("anonymous", "is true beside credentials", "drop one of the two")
	}
	return all
}

// Store is a bucket. It implements store.Store.
type Store struct {
	cfg    Config
	bucket string
	http   *http.Client

	mu     sync.Mutex
	client *s3.Client // nil before the first call
}

var _ store.Store = (*Store)(nil)

// New returns the store of a bucket. It reads no credentials yet and connects to
// nothing.
func New(cfg Config, bucket string) *Store {
	return &Store{cfg: cfg, bucket: bucket, http: &http.Client{
		Transport: store.NewTransport(cfg.Seats, cfg.Allow), CheckRedirect: redirect,
	}}
}

// redirect follows what keeps the request as it is, as AWS's own clients do.
func redirect(req *http.Request, _ []*http.Request) error {
	if code := req.Response.StatusCode; code == http.StatusTemporaryRedirect || code == http.StatusPermanentRedirect {
		return nil
	}
	return http.ErrUseLastResponse
}

// connected makes the client of the bucket, with the first call.
func (s *Store) connected(ctx context.Context) (*s3.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	options := []func(*config.LoadOptions) error{config.WithRetryMaxAttempts(attempts), config.WithLogger(logging.Nop{})}
	if s.cfg.Region != "" {
		options = append(options, config.WithRegion(s.cfg.Region))
	}
	if s.cfg.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(s.cfg.Profile))
	}
	switch {
	case s.cfg.Anonymous:
		options = append(options, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	case s.cfg.AccessKey != "":
		options = append(options, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(s.cfg.AccessKey, s.cfg.SecretKey, s.cfg.SessionToken)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, job.Permanentf("s3://%s: the configuration of AWS (~/.aws/config, AWS_PROFILE, s3.profile) can not be used: %w", s.bucket, err)
	}
	if cfg.Region == "" {
		cfg.Region = DefaultRegion
	}
	if !s.cfg.Anonymous {
		if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, job.Permanentf("s3://%s: no credentials are found in the environment (AWS_*), in ~/.aws, by a web identity or of the machine; of a public bucket write s3: {anonymous: true}: %w", s.bucket, err)
		}
	}
	s.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.HTTPClient = s.http
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.DisableLogOutputChecksumValidationSkipped = true
		if s.cfg.Endpoint != "" {
			o.BaseEndpoint = aws.String(s.cfg.Endpoint)
		}
		o.UsePathStyle = o.BaseEndpoint != nil
		if s.cfg.PathStyle != nil {
			o.UsePathStyle = *s.cfg.PathStyle
		}
	})
	return s.client, nil
}

// List implements store.Store. Each page is asked for by the last key of the
// one before, so it may come hours later.
func (s *Store) List(ctx context.Context, prefix, after string, yield func(store.Object) error) error {
	client, err := s.connected(ctx)
	if err != nil {
		return err
	}
	for {
		in := &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &prefix}
		if after != "" {
			in.StartAfter = aws.String(after)
		}
		page, err := client.ListObjectsV2(ctx, in)
		if err != nil {
			return s.failure(ctx, prefix, fmt.Errorf("listing it: %w", err))
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			if key <= after {
				return job.Permanentf("s3://%s: the server lists %q after %q: the order of its listings is not that of the keys", s.bucket, key, after)
			}
			after = key
			object := store.Object{Key: key, Size: aws.ToInt64(o.Size), Version: aws.ToString(o.ETag)}
			if o.LastModified != nil {
				object.Modified = *o.LastModified
			}
			if err := yield(object); err != nil {
				return err
			}
		}
		if !aws.ToBool(page.IsTruncated) {
			return nil
		}
		if len(page.Contents) == 0 {
			return job.Permanentf("s3://%s: the server gives an empty page of a listing that goes on", s.bucket)
		}
	}
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, key string) (store.Object, error) {
	client, err := s.connected(ctx)
	if err != nil {
		return store.Object{}, err
	}
	out, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		return store.Object{}, s.failure(ctx, key, err)
	}
	o := store.Object{Key: key, Size: aws.ToInt64(out.ContentLength), Version: aws.ToString(out.ETag)}
	if out.LastModified != nil {
		o.Modified = *out.LastModified
	}
	if o.Version == "" {
		return o, job.Permanentf("s3://%s/%s: the server gives no ETag, so its version can not be told", s.bucket, key)
	}
	return o, nil
}

// Read implements store.Store.
func (s *Store) Read(ctx context.Context, o store.Object, start, end int64) (io.ReadCloser, error) {
	if start >= end { // no range can be asked for
		now, err := s.Stat(ctx, o.Key)
		if err == nil && now.Version != o.Version {
			err = job.Permanentf("s3://%s/%s: %w", s.bucket, o.Key, store.ErrChanged)
		}
		return io.NopCloser(strings.NewReader("")), err
	}
	client, err := s.connected(ctx)
	if err != nil {
		return nil, err
	}
	out, err := client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &s.bucket, Key: &o.Key, IfMatch: &o.Version, Range: aws.String(fmt.Sprintf("bytes=%d-%d", start, end-1)),
	})
	if err != nil {
		return nil, s.failure(ctx, o.Key, err)
	}
	name, n := fmt.Sprintf("s3://%s/%s", s.bucket, o.Key), aws.ToInt64(out.ContentLength)
	switch {
	case out.ETag != nil && *out.ETag != o.Version: // of a server that does not compare
		err = job.Permanentf("%s: %w", name, store.ErrChanged)
	case n > end-start:
		err = job.Permanentf("%s: the server does not read parts of objects: it can not be used", name)
	case n < end-start:
		err = job.Retryf("%s: the server gave %d bytes of the range %d to %d", name, n, start, end)
	default:
		return store.Exactly(name, out.Body, n), nil
	}
	_ = out.Body.Close() // it is not read
	return nil, err
}
