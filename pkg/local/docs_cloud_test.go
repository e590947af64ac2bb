package local_test

import (
	"fmt"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/testkit/azuretest"
	"drayage/pkg/testkit/gcstest"
)

// The pipeline of the page loads objects of Google Cloud Storage.
func TestDocumentedGoogle(t *testing.T) {
	server, err := gcstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	for month := range 3 {
		var text strings.Builder
		text.WriteString("id,customer,total\n")
		for i := range 20_000 {
			fmt.Fprintf(&text, "%d,c%d,%d.50\n", month*20_000+i, i%7, i)
		}
		key := fmt.Sprintf("orders/2026-%02d.csv", month+1)
		if err := server.Put(t.Context(), key, []byte(text.String()), ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Put(t.Context(), "orders/2025-12.csv", []byte("no\n"), ""); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STORAGE_EMULATOR_HOST", server.URL)
	text := strings.ReplaceAll(documented(t, "source-files.md", "exports"), "gs://shop-exports/", "gs://"+gcstest.Bucket+"/")
	text = strings.Replace(text, "\nlimits:", "\n  chunk: 100KiB\nlimits:", 1)
	j := stack.Ended(t, submit(t, t.TempDir(), text))
	if j.State != job.Done || j.Totals.RowsLoaded != 60_000 || j.Totals.Chunks < 6 {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	if got := stack.SQL(t, "SELECT count(), uniqExact(id), sum(total) FROM exports"); got != "60000\t60000\t600000000" {
		t.Errorf("the table has %q", got)
	}
}

// The pipeline of the page loads objects of Azure; neither the record of the job
// nor its chunks have the key.
func TestDocumentedAzure(t *testing.T) {
	server, err := azuretest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	var text strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&text, "{\"sensor\":%d,\"at\":\"2026-01-01 00:00:00\",\"celsius\":%d.5}\n", i, i%40)
	}
	for key, data := range map[string]string{
		"readings/north/2026/a.jsonl": text.String(), "readings/b.jsonl": `{"sensor":70000,"at":"2026-01-01 00:00:00","celsius":-1}` + "\n",
		"readings/notes.txt": "no\n", "other/c.jsonl": "no\n",
	} {
		if err := server.Put(t.Context(), azuretest.Container, key, []byte(data), ""); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TELEMETRY_STORAGE", "DefaultEndpointsProtocol=http;AccountName="+azuretest.Account+";AccountKey="+azuretest.Key+";BlobEndpoint="+server.Endpoint()+";")
	pipeline := strings.ReplaceAll(documented(t, "source-files.md", "celsius"), "az://telemetry/", "az://"+azuretest.Container+"/")
	pipeline = strings.Replace(pipeline, "\nlimits:", "\n  chunk: 200KiB\nlimits:", 1)
	j := stack.Ended(t, submit(t, t.TempDir(), pipeline))
	if j.State != job.Done || j.Totals.RowsLoaded != 30_001 || j.Totals.Chunks < 5 {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	if got := stack.SQL(t, "SELECT count(), uniqExact(sensor), sum(celsius) FROM celsius"); got != "30001\t30001\t599999" {
		t.Errorf("the table has %q", got)
	}
	if strings.Contains(fmt.Sprintf("%+v", j), azuretest.Key) {
		t.Error("the job's record has the key")
	}
}
