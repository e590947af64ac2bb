package local_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"drayage/pkg/job"
)

// endsWith checks how a job has ended, and what a query then gives.
func endsWith(t *testing.T, j job.Job, state job.State, loaded uint64, query, want string) {
	t.Helper()
	if j.State != state || j.Totals.RowsLoaded != loaded {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	if got := stack.SQL(t, query); got != want {
		t.Errorf("%s gives %q, want %q", query, got, want)
	}
}

// The pipeline of the page runs as it stands there, and again for the messages
// that came since, also in a partition that is new; when messages are gone
// that no job has read, the next says so.
func TestDocumentedKafka(t *testing.T) {
	pair := httptest.NewUnstartedServer(http.NotFoundHandler())
	pair.StartTLS()
	defer pair.Close()
	c, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(2, "payments"), kfake.EnableSASL(),
		kfake.Superuser("SCRAM-SHA-512", "dray", "hunter2hunter2"), kfake.TLS(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: pair.TLS.Certificates}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	t.Setenv("KAFKA_BROKERS", strings.Join(c.ListenAddrs(), ","))
	t.Setenv("KAFKA_PASSWORD", "hunter2hunter2")
	t.Setenv("KAFKA_CA", write(t, t.TempDir(), "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate().Raw}))))
	known := x509.NewCertPool()
	known.AddCert(pair.Certificate())
	client := func() *kgo.Client { // which knows the partitions that there are now
		t.Helper()
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: known}),
			kgo.SASL(scram.Auth{User: "dray", Pass: "hunter2hunter2"}.AsSha512Mechanism()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	admin := kadm.NewClient(client())
	produce := func(partition int32, from, to int) {
		t.Helper()
		var all []*kgo.Record
		for i := from; i < to; i++ {
			r := &kgo.Record{
				Topic: "payments", Partition: partition, Value: fmt.Appendf(nil, `{"id": %d, "amount": "%d.25"}`, i, i),
				Timestamp: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Millisecond),
			}
			if i%2 == 0 {
				r.Key = fmt.Appendf(nil, "customer %d", i)
				r.Headers = []kgo.RecordHeader{{Key: "trace-id", Value: fmt.Appendf(nil, "it's %d", i)}}
			}
			all = append(all, r)
		}
		if err := client().ProduceSync(t.Context(), all...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	text := documented(t, "source-kafka.md", "payments")
	const query = "SELECT count(), uniqExact(id), sum(amount), uniqExact(_partition), countIf(customer = concat('customer ', toString(id)) AND trace = concat('it\\'s ', toString(id))), countIf(customer IS NULL AND trace = ''), max(_timestamp) FROM payments"
	produce(1, 1, 301)
	endsWith(t, again(t, text, false), job.Done, 300, query, "300\t300\t45225\t1\t150\t150\t2026-01-01 00:00:00.300")
	produce(0, 0, 1)
	added, err := admin.CreatePartitions(t.Context(), 1, "payments")
	if err = errors.Join(err, added.Error()); err != nil {
		t.Fatal(err)
	}
	produce(2, 301, 401)
	produce(0, 401, 501)
	endsWith(t, again(t, text, false), job.Done, 201, query, "501\t501\t125375.25\t3\t251\t250\t2026-01-01 00:00:00.500")
	endsWith(t, again(t, text, false), job.Done, 0, query, "501\t501\t125375.25\t3\t251\t250\t2026-01-01 00:00:00.500")

	produce(1, 501, 511)
	var kept kadm.Offsets
	kept.AddOffset("payments", 1, 305, -1)
	removed, err := admin.DeleteRecords(t.Context(), kept)
	if err = errors.Join(err, removed.Error()); err != nil {
		t.Fatal(err)
	}
	j := again(t, text, false)
	if j.State != job.Failed || !strings.Contains(j.Error, "topic payments, partition 1") || !strings.Contains(j.Error, "300 to 304") || !strings.Contains(j.Error, "--full") {
		t.Errorf("the job is %s: %s", j.State, j.Error)
	}
	full := strings.Replace(text, "order_by: (id", "mode: replace\n  order_by: (id", 1)
	if j := again(t, full, true); j.State != job.Done || j.Totals.RowsLoaded != 206 {
		t.Errorf("the job from the begin is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
}

// Likewise for a stream of NATS. What is no click is rejected, and the others
// are loaded.
func TestDocumentedJetStream(t *testing.T) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		Users: []*server.User{{Username: "dray", Password: "hunter2hunter2"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	t.Setenv("EVENTS_URL", s.ClientURL())
	t.Setenv("EVENTS_PASSWORD", "hunter2hunter2")
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("dray", "hunter2hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"shop.>"}})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(subject, value string) {
		t.Helper()
		m := nats.NewMsg(subject)
		m.Data = []byte(value)
		m.Header.Set("Trace-Id", "it's "+value)
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	clicks := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			publish("shop."+[]string{"de", "fr"}[i%2]+".clicks", fmt.Sprintf(`{"page": "/%d", "ms": %d}`, i, i))
			publish("shop.de.carts", `{"items": 3}`)
		}
	}
	text := documented(t, "source-jetstream.md", "clicks")
	const query = "SELECT count(), uniqExact(page), sum(ms), countIf(country = 'fr'), countIf(startsWith(trace, 'it\\'s {\"page')), uniqExact(_sequence), countIf(_timestamp > now() - 3600) FROM clicks"
	clicks(0, 200)
	endsWith(t, again(t, text, false), job.Done, 200, query, "200\t200\t19900\t100\t200\t200\t200")
	clicks(200, 250)
	publish("shop.de.clicks", `{"page": "/x", "ms": -1}`)
	publish("shop.de.clicks", `no click`)
	rejecting := again(t, text, false)
	endsWith(t, rejecting, job.DoneWithRejects, 50, query, "250\t250\t31125\t125\t250\t250\t250")
	if rejecting.Totals.RowsRejected != 2 {
		t.Errorf("%d rows were rejected", rejecting.Totals.RowsRejected)
	}
	endsWith(t, again(t, text, false), job.Done, 0, query, "250\t250\t31125\t125\t250\t250\t250")

	clicks(250, 260)
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(507)); err != nil {
		t.Fatal(err)
	}
	j := again(t, text, false)
	if j.State != job.Failed || !strings.Contains(j.Error, "stream EVENTS") || !strings.Contains(j.Error, "503 to 506") || !strings.Contains(j.Error, "--full") {
		t.Errorf("the job is %s: %s", j.State, j.Error)
	}
	full := strings.Replace(text, "order_by: (page", "mode: replace\n  order_by: (page", 1)
	endsWith(t, again(t, full, true), job.Done, 8, "SELECT count(), min(_sequence) FROM clicks", "8\t507")
}

// Whatever bytes messages, keys and headers hold, raw brings them into the table
// as they are.
func TestRawMessages(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "bytes"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	var every []byte
	for i := range 256 {
		every = append(every, byte(i))
	}
	for _, r := range []*kgo.Record{
		{Value: every, Key: every, Headers: []kgo.RecordHeader{{Key: string(every), Value: every}, {Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}}},
		{Value: []byte{}, Key: []byte{}},
		{}, // a tombstone without a key
		{Value: []byte("\\N"), Key: []byte("\\N")},
	} {
		r.Topic = "bytes"
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	j := stack.Ended(t, submit(t, t.TempDir(), fmt.Sprintf(`pipeline: bytes
source:
  kafka: {brokers: '%s', topic: bytes, format: raw, metadata: true}
  columns: value Nullable(String)
load: {table: raw_bytes, order_by: _offset}
`, strings.Join(c.ListenAddrs(), ","))))

	whole := "unhex(arrayStringConcat(arrayMap(i -> hex(toUInt8(i)), range(256))))"
	endsWith(t, j, job.Done, 4, fmt.Sprintf(`SELECT _offset, value = %[1]s, _key = %[1]s, mapKeys(_headers) = [%[1]s, 'a'] AND mapValues(_headers) = [[%[1]s], ['1', '2']], length(value), length(_key), length(_headers)
FROM raw_bytes ORDER BY _offset`, whole), strings.Join([]string{
		"0\t1\t1\t1\t256\t256\t2",
		"1\t0\t0\t0\t0\t0\t0",
		"2\t\\N\t\\N\t0\t\\N\t\\N\t0",
		"3\t0\t0\t0\t2\t2\t0",
	}, "\n"))
}
