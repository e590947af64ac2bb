package cli_test

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// What newer programs submitted, recorded and queued is left to them, untouched,
// by a fleet of older ones, which goes on with everything else.
func TestLeftToNewerPrograms(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := t.Context()
	worker := start(t, f.env, "worker")
	coordinator := start(t, f.env, "coordinator")
	eventually(t, "the streams are there", func() bool { return f.queue.Check(ctx) == nil })

	nc, err := nats.Connect(f.nats.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(subject, text string) {
		t.Helper()
		if _, err := js.Publish(ctx, subject, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	const newer = job.Protocol + 1
	if err := f.queue.OpenJob(ctx, "newer", queue.JobQueue{}); err != nil {
		t.Fatal(err)
	}
	if err := f.queue.PublishChunk(ctx, job.Chunk{Job: "newer", Input: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	// Columns are frozen in a way that this program does not know.
	publish("$KV.dray_jobs.newer", `{"job":"newer","state":"RUNNING","frozen":{"table":"t","colums_of_tomorrow":[]},"tomorrow":true}`)
	publish("$KV.dray_jobs.newest", fmt.Sprintf(`{"job":"newest","state":"SUBMITTED","protocol":%d}`, newer))
	publish("dray.jobs.submit", fmt.Sprintf(`{"job":"submitted","pipeline":"?","protocol":%d}`, newer))
	_, before, err := f.queue.Job(ctx, "newer")
	if err != nil {
		t.Fatal(err)
	}

	file := numbers(t, f.dir, "older", 1000, "4096")
	if _, stderr, code := dray(t, f.env, "submit", file, "--wait", "--key", "1"); code != 0 {
		t.Fatalf("the fleet does not go on: exit %d: %s", code, stderr)
	}
	eventually(t, "all of them are left, and it is said why", func() bool {
		led, worked := coordinator.log.String(), worker.log.String()
		return strings.Contains(led, "a submission is given back") && strings.Contains(led, `"job":"newer"`) &&
			strings.Contains(led, `"job":"newest"`) && strings.Contains(worked, "a job is left to other workers") && strings.Contains(worked, "colums_of_tomorrow")
	})
	if j, after, err := f.queue.Job(ctx, "newer"); err != nil || after != before || j.State != job.Running {
		t.Errorf("the newer job was touched: %s at revision %d, was %d (%v)", j.State, after, before, err)
	}
	if queued, inFlight, err := f.queue.Backlog(ctx, "newer"); err != nil || queued != 1 || inFlight != 0 {
		t.Errorf("its chunk was taken: %d queued, %d in flight (%v)", queued, inFlight, err)
	}
	if _, _, err := f.queue.Job(ctx, "submitted"); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("the newer submission became a job: %v", err)
	}
	if _, stderr, code := dray(t, f.env, "cancel", "newer"); code == 0 || !strings.Contains(stderr, "left to newer ones") {
		t.Errorf("an older program cancels it: exit %d: %s", code, stderr)
	}
	if list, err := f.queue.Workers(ctx); err != nil || len(list) != 1 || list[0].Protocol != job.Protocol {
		t.Errorf("the workers are %+v (%v)", list, err)
	}
}

// A job that can not be planned for now says so in its record, and goes on when
// it can.
func TestWaitingJobSaysWhy(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	file := filepath.Join(f.dir, "waits.yaml")
	text := fmt.Sprintf(`pipeline: waits
source: {clickhouse: {url: "http://%s", table: "system.one"}}
load: {table: waits, order_by: tuple()}
`, address)
	writeFile(t, file, text)
	start(t, f.env, "coordinator")
	if _, stderr, code := dray(t, f.env, "submit", file, "--key", "1"); code != 0 {
		t.Fatalf("submit exits with %d: %s", code, stderr)
	}
	var first job.Job
	eventually(t, "the record says why it waits", func() bool {
		first, _, err = f.queue.Job(t.Context(), "waits-1")
		return err == nil && first.Waiting != nil
	})
	if first.State != job.Planning || !strings.Contains(first.Waiting.Error, address) || first.Waiting.Since.Before(first.CreatedAt) {
		t.Errorf("the job is %s and waits: %+v", first.State, first.Waiting)
	}
	if out, _, _ := dray(t, f.env, "show", "waits-1"); !strings.Contains(out, "waiting") || !strings.Contains(out, address) {
		t.Errorf("show does not say so:\n%s", out)
	}
}
