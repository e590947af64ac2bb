package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
	"drayage/pkg/testkit/s3test"
)

// alone takes away what the environment of the tests may say of AWS, and the
// role of the machine.
func alone(t *testing.T, set ...string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	for i := 0; i < len(set); i += 2 {
		t.Setenv(set[i], set[i+1])
	}
}

func start(t *testing.T, public bool) *s3test.Server {
	t.Helper()
	s, err := s3test.Start(public)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Put("a/b c+ü.csv", "0123456789"); err != nil {
		t.Fatal(err)
	}
	return s
}

// Where credentials, region and endpoint come from, and what is said where there
// are none.
func TestCredentials(t *testing.T) {
	open := start(t, true)
	server := start(t, false)
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") != "AssumeRoleWithWebIdentity" || r.FormValue("WebIdentityToken") != "a-token" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>s</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>", s3test.AccessKey, s3test.SecretKey)
	}))
	t.Cleanup(sts.Close)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keys := fmt.Sprintf("aws_access_key_id = %s\naws_secret_access_key = %s\n", s3test.AccessKey, s3test.SecretKey)
	wrong := "[default]\naws_access_key_id = AKISOMEBODY\naws_secret_access_key = else-and-secret\n"
	shared := file("credentials", wrong+"[lake]\n"+keys)
	for _, tt := range []struct {
		name string
		env  []string
		cfg  Config
		err  []string // parts of it
	}{
		{"keys of the configuration", nil, Config{Endpoint: server.URL, AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey}, nil},
		{"environment", []string{"AWS_ACCESS_KEY_ID", s3test.AccessKey, "AWS_SECRET_ACCESS_KEY", s3test.SecretKey, "AWS_ENDPOINT_URL_S3", server.URL}, Config{}, nil},
		{"profile of the configuration", []string{"AWS_SHARED_CREDENTIALS_FILE", shared}, Config{Endpoint: server.URL, Profile: "lake"}, nil},
		{"profile of the environment", []string{"AWS_SHARED_CREDENTIALS_FILE", shared, "AWS_PROFILE", "lake"}, Config{Endpoint: server.URL}, nil},
		{"web identity", []string{"AWS_WEB_IDENTITY_TOKEN_FILE", file("token", "a-token"), "AWS_ROLE_ARN", "arn:aws:iam::1:role/r", "AWS_ENDPOINT_URL_STS", sts.URL}, Config{Endpoint: server.URL, Region: "eu-west-1"}, nil},
		{"anonymous", nil, Config{Endpoint: open.URL, Anonymous: true}, nil},
		{"anonymous where it is not allowed", nil, Config{Endpoint: server.URL, Anonymous: true}, []string{"403", "nobody (anonymous: true)"}},
		{"wrong keys of a file", []string{"AWS_SHARED_CREDENTIALS_FILE", shared}, Config{Endpoint: server.URL}, []string{"403", "SharedConfigCredentials", shared}},
		{"no credentials", nil, Config{Endpoint: server.URL}, []string{"no credentials", "AWS_*", "anonymous: true"}},
		{"no such profile", nil, Config{Endpoint: server.URL, Profile: "nobody"}, []string{"profile", "nobody"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			alone(t, tt.env...)
			s := New(tt.cfg, s3test.Bucket)
			o, err := s.Stat(t.Context(), "a/b c+ü.csv")
			if len(tt.err) == 0 {
				if err != nil || o.Size != 10 || o.Version == "" {
					t.Errorf("%+v: %v", o, err)
				}
				return
			}
			if job.ClassOf(err) != job.Permanent {
				t.Errorf("class %v of %v", job.ClassOf(err), err)
			}
			for _, p := range tt.err {
				if !strings.Contains(err.Error(), p) {
					t.Errorf("no %q in: %v", p, err)
				}
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "AKI") {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}

func TestRead(t *testing.T) {
	alone(t)
	server := start(t, false)
	s := New(Config{Endpoint: server.URL, AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey}, s3test.Bucket)
	var o store.Object
	if err := s.List(t.Context(), "a/", "", func(found store.Object) error { o = found; return nil }); err != nil || o.Key != "a/b c+ü.csv" {
		t.Fatalf("%+v: %v", o, err)
	}
	for _, r := range [][2]int64{{0, 10}, {3, 7}, {9, 10}, {5, 5}} {
		body, err := s.Read(t.Context(), o, r[0], r[1])
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if string(data) != "0123456789"[r[0]:r[1]] || err != nil || body.Close() != nil {
			t.Errorf("%v: %q, %v", r, data, err)
		}
	}
	if _, err := s.Stat(t.Context(), "none"); !errors.Is(err, store.ErrNotFound) || job.ClassOf(err) != job.Permanent {
		t.Error(err)
	}
	if err := server.Put(o.Key, "9876543210"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(t.Context(), o, 0, 1); !errors.Is(err, store.ErrChanged) || job.ClassOf(err) != job.Permanent {
		t.Error(err)
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	if _, err := s.Read(over, o, 0, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A listing of a million objects is seen page by page, from any key on.
func TestList(t *testing.T) {
	alone(t)
	const all, page = 1_000_000, 1000
	var pages atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pages.Add(1)
		from := 0
		if _, err := fmt.Sscanf(r.URL.Query().Get("start-after"), "logs/%07d", &from); err == nil {
			from++
		}
		end := min(from+page, all)
		fmt.Fprintf(w, "<ListBucketResult><IsTruncated>%t</IsTruncated>", end < all)
		for i := from; i < end; i++ {
			fmt.Fprintf(w, "<Contents><Key>logs/%07d</Key><Size>%d</Size><ETag>&quot;%d&quot;</ETag></Contents>", i, i, i)
		}
		fmt.Fprint(w, "</ListBucketResult>")
	}))
	t.Cleanup(server.Close)
	s := New(Config{Endpoint: server.URL, Anonymous: true}, "bucket")
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, most, n := live(), int64(0), 0
	err := s.List(t.Context(), "logs/", "logs/0949999", func(o store.Object) error {
		if want := 950_000 + n; o.Key != fmt.Sprintf("logs/%07d", want) || o.Size != int64(want) {
			return fmt.Errorf("object %d is %+v", n, o)
		}
		if n++; n%10_000 == 0 {
			most = max(most, live()-before)
		}
		return nil
	})
	if err != nil || n != 50_000 || pages.Load() != 50 {
		t.Errorf("%d objects in %d pages: %v", n, pages.Load(), err)
	}
	if most > 8<<20 {
		t.Errorf("a listing takes %d bytes", most)
	}
	stop := errors.New("stop")
	if err := s.List(t.Context(), "logs/", "", func(store.Object) error { return stop }); !errors.Is(err, stop) || pages.Load() != 51 {
		t.Errorf("after %d pages: %v", pages.Load(), err)
	}
}

// Hosts that there are not, and certificates that nobody trusts, are mistakes; a
// name service that fails is none.
func TestUnanswered(t *testing.T) {
	alone(t)
	for _, tt := range []struct {
		err   error
		class job.Class
		part  string
	}{
		{&net.DNSError{Err: "no such host", Name: "bucket.minio", IsNotFound: true}, job.Permanent, "path_style: true"},
		{&net.DNSError{Err: "server misbehaving", Name: "bucket.minio", IsTemporary: true}, job.Retry, "misbehaving"},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, job.Retry, "refused"},
	} {
		err := unanswered("s3://bucket/a", fmt.Errorf("the request: %w", tt.err))
		if job.ClassOf(err) != tt.class || !strings.Contains(err.Error(), tt.part) {
			t.Errorf("class %v of %v", job.ClassOf(err), err)
		}
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes
	server.StartTLS()
	t.Cleanup(server.Close)
	s := New(Config{Endpoint: server.URL, Anonymous: true}, "bucket")
	if _, err := s.Stat(t.Context(), "a"); job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("class %v of %v", job.ClassOf(err), err)
	}
}
