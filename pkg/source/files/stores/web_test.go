package stores_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files"
	"drayage/pkg/source/files/store/s3"
	"drayage/pkg/source/files/store/web"
	"drayage/pkg/source/files/stores"
)

var noTime time.Time

// chunked is a server that says no length.
func chunked(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Last-Modified", "Sun, 01 Nov 2026 00:00:00 GMT")
		for part := range strings.SplitAfterSeq(body, "5\n") {
			_, _ = io.WriteString(w, part)
			if len(part) < len(body) {
				_ = http.NewResponseController(w).Flush()
			}
		}
	}
}

// Mistakes in addresses and in how stores are reached, without a secret.
func TestValidate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, path string
		part       string
	}{
		{"no such scheme", "ftp://host/a.csv", "ftp://, which is not known"},
		{"no key", "s3://bucket", "names no object"},
		{"no bucket", "s3:///a.csv", "names no object"},
		{"glob of buckets", "s3://b*/a.csv", "in the name of its bucket"},
		{"open bracket", "s3://bucket/[a.csv", "is not a glob"},
		{"range of numbers", "s3://bucket/{1..9}.csv", "range of numbers"},
		{"glob of https", "https://me:secret@host/*.csv?sig=secret", "is a glob, and a web server does not list"},
		{"no format", "https://host/a?sig=secret.csv", "does not say it by its extension"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := files.New(files.Config{Paths: []string{tt.path}, Stores: stores.Config{}.Openers()})
			if job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), tt.part) || strings.Contains(err.Error(), "secret") {
				t.Error(err)
			}
		})
	}
	for field, c := range map[string]stores.Config{
		"s3.endpoint":               {S3: s3.Config{Endpoint: "minio:9000"}},
		"s3.secret_key":             {S3: s3.Config{AccessKey: "a"}},
		"s3.access_key":             {S3: s3.Config{SecretKey: "secret"}},
		"s3.session_token":          {S3: s3.Config{SessionToken: "secret"}},
		"s3.anonymous":              {S3: s3.Config{Anonymous: true, Profile: "p"}},
		"http.headers":              {Web: web.Config{Headers: map[string]string{"a b": "secret"}}},
		"http.headers.range":        {Web: web.Config{Headers: map[string]string{"range": "secret"}}},
		"http.headers.X-Token":      {Web: web.Config{Headers: map[string]string{"X-Token": "secret\n"}}},
		"s3.endpoint, with a user":  {S3: s3.Config{Endpoint: "http://me:secret@host"}},
		"s3.endpoint, with a query": {S3: s3.Config{Endpoint: "http://host?secret"}},
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			err := c.Validate()
			var all source.FieldErrors
			if !asFieldErrors(err, &all) || len(all) != 1 {
				t.Fatal(err)
			}
			if want, _, _ := strings.Cut(field, ","); all[0].Field != want || strings.Contains(err.Error(), "secret\n") || strings.Contains(err.Error(), "me:secret") {
				t.Error(err)
			}
		})
	}
	if err := (stores.Config{}).Validate(); err != nil {
		t.Error(err)
	}
}

func asFieldErrors(err error, all *source.FieldErrors) bool {
	got, ok := err.(source.FieldErrors) //nolint:errorlint // it is not wrapped
	*all = got
	return ok
}

// Two addresses that differ only in what may be secret are two files; their
// chunks name them apart, and one that is not the pipeline's is refused.
func TestWebNames(t *testing.T) {
	t.Parallel()
	columns := cols("line", "String")
	server := bucketless(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+r.URL.Query().Get("day")+`"`)
		http.ServeContent(w, r, "", noTime, strings.NewReader(r.URL.Query().Get("day")+"\n"))
	})
	s := mustNew(t, files.Config{Paths: []string{server + "/a.log?day=1", server + "/a.log?day=2", server + "/a.log?day=1"}, Columns: columns, Stores: stores.Config{}.Openers()})
	chunks, err := plan(t.Context(), s, nil, columns)
	if err != nil || len(chunks) != 2 {
		t.Fatalf("%d chunks: %v", len(chunks), err)
	}
	for i, want := range []string{"1\n", "2\n"} {
		if got, err := read(t.Context(), s, chunks[i].Input, columns); err != nil || got != want {
			t.Errorf("%q: %v", got, err)
		}
	}
	if at := source.Place(s, chunks[1].Input); !strings.HasPrefix(at, server+"/a.log#2 bytes 0-") {
		t.Error(at)
	}
	other := mustNew(t, files.Config{Paths: []string{server + "/b.log"}, Columns: columns, Stores: stores.Config{}.Openers()})
	if _, err := other.Open(t.Context(), chunks[0].Input, columns); job.ClassOf(err) != job.Permanent {
		t.Error(err)
	}
}
