package local_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/testkit/s3test"
)

// lake starts an S3 with objects, which the environment has the credentials for.
func lake(t *testing.T, objects map[string]string) *s3test.Server {
	t.Helper()
	server, err := s3test.Start(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	for key, data := range objects {
		if err := server.Put(key, data); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", s3test.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3test.SecretKey)
	t.Setenv("LAKE_URL", server.URL)
	return server
}

// The pipeline of the page loads objects, with the credentials of the
// environment; records that do not fit are known by their object and place.
func TestDocumentedObjects(t *testing.T) {
	var first, second strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&first, "{\"id\":%d,\"at\":\"2026-01-01 00:00:00\",\"page\":\"/%d\",\"ms\":%d}\n", i, i%10, i)
		fmt.Fprintf(&second, "{\"id\":%d,\"at\":\"2026-02-01 00:00:00\",\"page\":\"/%d\",\"ms\":%d}\n", i+60_000, i%10, i)
	}
	second.WriteString("{\"id\":-1,\"at\":\"2026-02-01 00:00:00\",\"page\":\"/\",\"ms\":1}\n")
	server := lake(t, map[string]string{
		"visits/2026-01/a.jsonl": first.String(), "visits/2026-02/b.jsonl": second.String(),
		"visits/2025-12/old.jsonl": "{}\n", "visits/2026-02/notes.txt": "no\n",
	})
	text := strings.ReplaceAll(documented(t, "source-files.md", "visits"), "s3://lake/", "s3://"+s3test.Bucket+"/")
	text = strings.Replace(text, "16MiB", "1MiB", 1)
	j := stack.Ended(t, submit(t, t.TempDir(), text))
	if j.State != job.DoneWithRejects || j.Totals.RowsLoaded != 120_000 || j.Totals.RowsRejected != 1 || j.Totals.Chunks < 6 {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	if got := stack.SQL(t, "SELECT count(), uniqExact(id), round(sum(seconds)) FROM visits"); got != "120000\t120000\t3599940" {
		t.Errorf("the table has %q", got)
	}
	at := int64(strings.Index(second.String(), `{"id":-1`))
	got := stack.SQL(t, "SELECT input, offset, raw FROM drayage.rejects WHERE job = '"+j.ID+"'")
	if !strings.HasPrefix(got, "s3://"+s3test.Bucket+"/visits/2026-02/b.jsonl bytes ") || !strings.Contains(got, fmt.Sprintf("\t%d\t", at)) || !strings.Contains(got, `{"id":-1,`) {
		t.Errorf("quarantine has %q, the record is at %d", got, at)
	}
	for _, secret := range []string{s3test.SecretKey, s3test.AccessKey} {
		if record := fmt.Sprintf("%+v", j); strings.Contains(record, secret) {
			t.Error("the job's record has a secret")
		}
	}
	if most := server.Most(); most > 8 {
		t.Errorf("%d requests at once", most)
	}
}

// Files of a web server, behind a secret: with parts and without.
func TestWebFiles(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer a-token-of-the-tests" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("ETag", `"1"`)
		if strings.HasPrefix(r.URL.Path, "/whole") {
			_, _ = w.Write([]byte(rows(1000)))
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(rows(50_000)))
	}))
	t.Cleanup(web.Close)
	t.Setenv("WEB_TOKEN", "a-token-of-the-tests")
	text := pipe("web_files", fmt.Sprintf("path: [\"%[1]s/a.csv\", \"%[1]s/whole.csv\"], header: false, http: {headers: {Authorization: \"Bearer ${env:WEB_TOKEN}\"}}", web.URL), idAndDouble+"\n  chunk: 200KiB")
	j := stack.Ended(t, submit(t, t.TempDir(), text))
	if j.State != job.Done || j.Totals.RowsLoaded != 51_000 || j.Totals.Chunks < 3 {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
}
