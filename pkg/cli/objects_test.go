package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pkg/testkit/s3test"
)

// All verbs go with objects as they do with files: what is checked before a job,
// what did not fit and where it stands, its second try, and the proof against the
// source.
func TestObjects(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	strict, mended, raw := misfits(t, f.dir, "objects")
	server, err := s3test.Start(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	text, err := os.ReadFile(filepath.Join(f.dir, "objects.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Put("in/objects.csv", string(text)); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{strict, mended} {
		pipeline, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		far := strings.Replace(string(pipeline), "path: objects.csv,", "path: s3://"+s3test.Bucket+"/in/*.csv, s3: {access_key: '${env:LAKE_KEY}', secret_key: '${env:LAKE_SECRET}', endpoint: '${env:LAKE_URL}'},", 1)
		writeFile(t, file, far)
	}
	env := append(f.env, "LAKE_KEY="+s3test.AccessKey, "LAKE_SECRET="+s3test.SecretKey, "LAKE_URL="+server.URL)
	place := "s3://" + s3test.Bucket + "/in/objects.csv bytes "

	expect(t, env, []string{"validate", strict}, 0)
	expect(t, append(env, "LAKE_KEY=AKISOMEBODYELSE"), []string{"validate", strict}, 2, "InvalidAccessKeyId", "the pipeline (access_key)")
	expect(t, append(env, "LAKE_SECRET="), []string{"validate", strict}, 2, "secret_key", "is missing")
	expect(t, env, []string{"plan", strict, "--estimate=false"}, 0, place)
	expect(t, env, []string{"preview", strict, "-n", "3"}, 4, "word", "ok", "would be rejected")

	start(t, env, "coordinator")
	start(t, env, "worker", "--slots", "1")
	expect(t, env, []string{"submit", strict, "--wait", "--key", "1"}, 4, "done with rejects", "5: dray rejects objects-1")
	all := rejects(t, env, "objects-1")
	for _, r := range all {
		if !strings.HasPrefix(string(text[r.Offset:]), r.Raw+"\n") || !strings.HasPrefix(r.Input, place) || r.Reason == "" {
			t.Errorf("a reject is %+v", r)
		}
	}
	if len(all) != len(raw) {
		t.Errorf("%d rejects, not %d", len(all), len(raw))
	}
	expect(t, env, []string{"verify", "objects-1", "--source"}, 0, "agrees", "0 differ")
	expect(t, env, []string{"retry", "objects-1", "--rejects", "--pipeline", mended, "--wait"}, 4, "done with rejects")
	f.answers(t, "SELECT count(), uniqExact(_job) FROM objects", "599\t2")
	if err := server.Put("in/objects.csv", "1,1,other\n"); err != nil {
		t.Fatal(err)
	}
	expect(t, env, []string{"verify", "objects-1", "--source"}, 1, "differs", "another version")
	for _, args := range [][]string{{"show", "objects-1", "--json"}, {"dead", "list"}, {"rejects", "objects-1"}} {
		if out := expect(t, env, args, 0); strings.Contains(out, s3test.SecretKey) || strings.Contains(out, s3test.AccessKey) {
			t.Errorf("%s shows a secret", args[0])
		}
	}
}
