package cli_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"drayage/pkg/fault"
	"drayage/pkg/job"
)

// Each message is loaded once, whoever dies: a worker that has loaded a chunk
// and not said so, a coordinator that has verified a job and not moved its
// watermark. The jobs after read what came since.
func TestMessageFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.env = append(f.env, "DRAY_LEAD_TTL=1s")

	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "numbers"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	producer, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	nc, err := nats.Connect(f.nats.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "NUMBERS", Subjects: []string{"numbers"}}); err != nil {
		t.Fatal(err)
	}

	for name, queue := range map[string]struct {
		source string
		send   func(t *testing.T, from, to int)
	}{
		"kafka": {fmt.Sprintf("kafka: {brokers: '%s', topic: numbers}", strings.Join(broker.ListenAddrs(), ",")), func(t *testing.T, from, to int) {
			var all []*kgo.Record
			for i := from; i < to; i++ {
				all = append(all, &kgo.Record{Topic: "numbers", Partition: int32(i % 3), Value: fmt.Appendf(nil, `{"id": %d}`, i)}) //nolint:gosec // below 3
			}
			if err := producer.ProduceSync(t.Context(), all...).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}},
		"jetstream": {fmt.Sprintf("jetstream: {url: '%s', stream: NUMBERS}", f.nats.URL()), func(t *testing.T, from, to int) {
			for i := from; i < to; i++ {
				if _, err := js.Publish(t.Context(), "numbers", fmt.Appendf(nil, `{"id": %d}`, i)); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(f.dir, name+".yaml")
			text := fmt.Sprintf("pipeline: %[1]s\nsource:\n  %[2]s\n  columns: id UInt64\n  rows: 100\nincremental: true\nload: {table: %[1]s, order_by: id}\n", name, queue.source)
			writeFile(t, file, text)
			sent, key := 0, 0
			round := func(messages int, during func()) {
				t.Helper()
				queue.send(t, sent, sent+messages)
				sent, key = sent+messages, key+1
				submitted := start(t, f.env, "submit", file, "--wait", "--quiet", "--key", fmt.Sprint(key))
				during()
				submitted.exits(0)
				if got, want := f.sql(t, "SELECT count(), uniqExact(id), max(id) FROM "+name), fmt.Sprintf("%[1]d\t%[1]d\t%d", sent, sent-1); got != want {
					t.Errorf("the table has %q rows, distinct ids and the largest, want %q", got, want)
				}
				if j := f.job(t, fmt.Sprintf("%s-%d", name, key)); j.State != job.Done || j.Totals.RowsLoaded != uint64(messages) { //nolint:gosec // positive
					t.Errorf("job %d is %s and has loaded %d rows: %s", key, j.State, j.Totals.RowsLoaded, j.Error)
				}
			}
			c := start(t, f.env, "coordinator")
			w := start(t, f.faulty(fmt.Sprintf("%s=kill@2", fault.Loaded)), "worker")
			round(1200, func() {
				w.died()
				w = start(t, f.env, "worker")
			})
			endAll(c)
			c = start(t, f.faulty(fmt.Sprintf("%s=kill", fault.Moving)), "coordinator")
			round(300, func() {
				c.died()
				c = start(t, f.env, "coordinator")
			})
			round(0, func() {})
			endAll(c, w)
		})
	}
}
