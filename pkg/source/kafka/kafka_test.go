package kafka

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/messages"
	"drayage/pkg/source/messages/messagestest"
	"drayage/pkg/source/sourcetest"
)

func TestEveryMessageOnce(t *testing.T) {
	c := broker(t, 3)
	cl := producer(t, c)
	produce(t, cl, 0, messagestest.Numbered(0, 25)...)
	produce(t, cl, 2, messagestest.Numbered(25, 60)...)
	s := mustNew(t, c, Config{Settings: messages.Settings{Rows: 10}})
	chunks := messagestest.Once(t, s, messagestest.Numbered(0, 60), func() {
		produce(t, cl, 0, messagestest.Numbered(60, 70)...)
	})
	if len(chunks) != 7 || chunks[6].Inputs != 2 {
		t.Errorf("%d chunks of %d partitions", len(chunks), chunks[len(chunks)-1].Inputs)
	}
	if at := source.Place(s, chunks[1].Input); at != "t/0 offsets 10-20" {
		t.Errorf("chunk 1 is at %s", at)
	}
	if _, err := s.Split(t.Context(), json.RawMessage(`{"p":0,"a":1,"z":2,"m":1}`), nil); !errors.Is(err, source.ErrWhole) {
		t.Errorf("one offset is cut: %v", err)
	}
}

// Jobs that follow each other read everything once; a job that is planned again
// reads what it read.
func TestJobsFollow(t *testing.T) {
	c := broker(t, 2)
	cl := producer(t, c)
	produce(t, cl, 0, messagestest.Numbered(0, 5)...)
	messagestest.Follow(t, func(bounds json.RawMessage) messagestest.Source {
		return mustNew(t, c, Config{Bounds: bounds, Settings: messages.Settings{Rows: 2}})
	}, func(round int) {
		produce(t, cl, 1, messagestest.Numbered(100*round, 100*round+3)...)
	}, slices.Concat(messagestest.Numbered(0, 5), messagestest.Numbered(0, 3), messagestest.Numbered(100, 103)))
}

// Partitions that a topic got since the job before are read from their begin.
func TestPartitionsAdded(t *testing.T) {
	c := broker(t, 1)
	cl := producer(t, c)
	produce(t, cl, 0, messagestest.Numbered(0, 3)...)
	_, state, err := mustNew(t, c, Config{Settings: messages.Settings{From: "latest"}}).Bounds(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	added, err := admin(t, c).CreatePartitions(t.Context(), 2, "t")
	if err = errors.Join(err, added.Error()); err != nil {
		t.Fatal(err)
	}
	cl = producer(t, c)
	produce(t, cl, 2, messagestest.Numbered(3, 6)...)
	produce(t, cl, 0, messagestest.Numbered(6, 8)...)
	bounds, _, err := mustNew(t, c, Config{Settings: messages.Settings{From: "latest"}}).Bounds(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	lines, _ := messagestest.Load(t, mustNew(t, c, Config{Bounds: bounds}), messagestest.ColumnN)
	if want := slices.Concat(messagestest.Numbered(6, 8), messagestest.Numbered(3, 6)); !slices.Equal(lines, want) {
		t.Errorf("read %v", lines)
	}
}

// A connection that the broker ends in the middle of a chunk is made anew, and
// the chunk goes on where it was; a broker that does so all the time ends the
// attempt.
func TestConnectionCut(t *testing.T) {
	c := broker(t, 1)
	var values []string
	for i := range 8 { // two answers
		values = append(values, fmt.Sprintf(`{"n":%d,"s":"%s"}`, i, strings.Repeat("x", 900_000)))
	}
	produce(t, producer(t, c, kgo.ProducerBatchCompression(kgo.NoCompression())), 0, values...)
	s := mustNew(t, c, Config{})
	chunks, err := sourcetest.Plan(t, s, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	fetches, always := 0, false
	c.ControlKey(kmsg.Fetch.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		fetches++
		return nil, errors.New("cut"), always || fetches == 2
	})
	got, err := sourcetest.Chunk(t, s, chunks[0].Input, messagestest.ColumnN)
	if err != nil || got != strings.Join(values, "\n")+"\n" || fetches < 3 {
		t.Errorf("%d bytes came in %d fetches: %v", len(got), fetches, err)
	}
	always = true
	if _, err := sourcetest.Chunk(t, s, chunks[0].Input, messagestest.ColumnN); job.ClassOf(err) != job.Retry || !strings.Contains(err.Error(), "topic t, partition 0, offset 0") {
		t.Errorf("the error is %v", err)
	}
}

func TestWhatIsGone(t *testing.T) {
	for name, tt := range map[string]struct {
		meanwhile func(t *testing.T, a *kadm.Client)
		want      error
		text      string
	}{
		"OK": {func(*testing.T, *kadm.Client) {}, nil, ""},
		"retention": {func(t *testing.T, a *kadm.Client) {
			var to kadm.Offsets
			to.AddOffset("t", 0, 8, -1)
			if _, err := a.DeleteRecords(t.Context(), to); err != nil {
				t.Fatal(err)
			}
		}, source.ErrGone, "partition 0"},
		"deleted": {func(t *testing.T, a *kadm.Client) {
			if _, err := a.DeleteTopics(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
		}, source.ErrGone, "topic"},
		"made anew": {func(t *testing.T, a *kadm.Client) {
			if _, err := a.DeleteTopics(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
			if _, err := a.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
				t.Fatal(err)
			}
		}, source.ErrChanged, "anew"},
	} {
		t.Run(name, func(t *testing.T) {
			c := broker(t, 1)
			cl := producer(t, c)
			messagestest.Gone(t, mustNew(t, c, Config{}), func(values ...string) { produce(t, cl, 0, values...) },
				func() { tt.meanwhile(t, admin(t, c)) }, tt.want, tt.text)
		})
	}
}

// Messages of aborted transactions are not read, and a range ends where it
// should though its last offsets hold markers alone.
func TestTransactions(t *testing.T) {
	c := broker(t, 1)
	cl := producer(t, c, kgo.TransactionalID("x"))
	send := func(end kgo.TransactionEndTry, values ...string) {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, cl, 0, values...)
		if err := cl.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	send(kgo.TryCommit, messagestest.Numbered(0, 3)...)
	send(kgo.TryAbort, messagestest.Numbered(3, 6)...)
	send(kgo.TryCommit, messagestest.Numbered(6, 8)...)
	send(kgo.TryAbort, messagestest.Numbered(8, 9)...)
	for _, rows := range []uint64{1, 3, 100} {
		lines, _ := messagestest.Load(t, mustNew(t, c, Config{Settings: messages.Settings{Rows: rows}}), messagestest.ColumnN)
		if want := slices.Concat(messagestest.Numbered(0, 3), messagestest.Numbered(6, 8)); !slices.Equal(lines, want) {
			t.Errorf("in chunks of %d: %v", rows, lines)
		}
	}
}

// What the engine reads of messages, with metadata beside them.
func TestColumnsAndMetadata(t *testing.T) {
	c := broker(t, 1)
	cl := producer(t, c)
	produce(t, cl, 0, "{\"n\": 1,\n\"s\": \"a\"}", "", "{}", "no JSON {\n}", `{"n": 2, "s": "\""}`)
	s := mustNew(t, c, Config{Settings: messages.Settings{Metadata: true}})
	columns, err := s.Columns(t.Context(), eng)
	if err != nil {
		t.Fatal(err)
	}
	want := "[{n Nullable(Int64)} {s Nullable(String)} {_topic LowCardinality(String)} {_partition Int32} {_offset Int64} {_timestamp DateTime64(3, 'UTC')} {_key Nullable(String)} {_headers Map(String, Array(String))}]"
	if fmt.Sprint(columns) != want {
		t.Errorf("the columns are %v", columns)
	}
	traced := &kgo.Record{Topic: "t", Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: "b", Value: []byte("2")}, {Key: "a", Value: nil}, {Key: "b", Value: []byte("3")}}}
	if err := cl.ProduceSync(t.Context(), traced).FirstErr(); err != nil {
		t.Fatal(err)
	}
	lines, _ := messagestest.Load(t, s, []job.Column{columns[0], columns[1], columns[4], columns[6], columns[7]})
	wantLines := []string{
		`{"_offset":0,"_key":"k0","_headers":{},"n": 1, "s": "a"}`,
		`{"_offset":2,"_key":"k2","_headers":{}}`,
		`"no JSON {\u000a}"`,
		`{"_offset":4,"_key":"k4","_headers":{},"n": 2, "s": "\""}`,
		`{"_offset":5,"_key":null,"_headers":{"b":["2","3"],"a":[""]}}`,
	}
	if !slices.Equal(lines, wantLines) {
		t.Errorf("the rows are %q", lines)
	}
	if s.Size(t.Context()) == 0 {
		t.Error("the size is not estimated")
	}
}

func TestEmptyTopic(t *testing.T) {
	c := broker(t, 1)
	messagestest.Empty(t, eng, mustNew(t, c, Config{}), mustNew(t, c, Config{Columns: messagestest.ColumnN}))
	missing := mustNew(t, c, Config{Columns: messagestest.ColumnN})
	missing.cfg.Topic = "other"
	if _, err := missing.Columns(t.Context(), eng); !errors.Is(err, source.ErrGone) || job.ClassOf(err) != job.Permanent {
		t.Errorf("a topic that is not there: %v", err)
	}
}

func TestLogin(t *testing.T) {
	c := broker(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "right"))
	s := mustNew(t, c, Config{Username: "u", Password: "right", Columns: messagestest.ColumnN})
	if _, err := s.Columns(t.Context(), eng); err != nil {
		t.Errorf("logged in: %v", err)
	}
	// This broker hangs up on a wrong password, and Kafka answers with a code.
	c.ControlKey(kmsg.SASLAuthenticate.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp, _ := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return resp, nil, true
	})
	s = mustNew(t, c, Config{Username: "u", Password: "mistaken", Columns: messagestest.ColumnN})
	if _, err := s.Columns(t.Context(), eng); job.ClassOf(err) != job.Permanent || strings.Contains(err.Error(), "mistaken") {
		t.Errorf("with a wrong password: %v", err)
	}
}

func TestTLS(t *testing.T) {
	pair := httptest.NewUnstartedServer(http.NotFoundHandler())
	pair.StartTLS()
	defer pair.Close()
	c := broker(t, 1, kfake.TLS(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: pair.TLS.Certificates}))
	dir := t.TempDir()
	for name, text := range map[string][]byte{
		"ca.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate().Raw}),
		"other":  []byte("hello"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		cfg  Config
		says string // empty: no error
	}{
		"trusted":     {Config{Certificates: source.Certificates{CAFile: "ca.pem"}}, ""},
		"not trusted": {Config{TLS: true}, "certificate"},
		"no file":     {Config{Certificates: source.Certificates{CAFile: "missing.pem"}}, "missing.pem"},
		"no PEM":      {Config{Certificates: source.Certificates{CAFile: "other"}}, "no certificate"},
		"no pair":     {Config{Certificates: source.Certificates{CertFile: "ca.pem", KeyFile: "other"}}, "cert_file"},
	} {
		tt.cfg.Columns, tt.cfg.Dir = messagestest.ColumnN, dir
		_, err := mustNew(t, c, tt.cfg).Columns(t.Context(), eng)
		if tt.says == "" && err != nil || tt.says != "" && (job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		err   error
		class job.Class
	}{
		{kerr.SaslAuthenticationFailed, job.Permanent},
		{kerr.TopicAuthorizationFailed, job.Permanent},
		{kerr.UnknownTopicOrPartition, job.Permanent},
		{kerr.UnknownTopicID, job.Permanent},
		{kerr.ThrottlingQuotaExceeded, job.SlowDown},
		{kerr.LeaderNotAvailable, job.Retry},
		{kerr.NotLeaderForPartition, job.Retry},
		{kerr.RequestTimedOut, job.Retry},
		{errors.New("connection reset"), job.Retry},
	} {
		if err := classify("reading", tt.err); job.ClassOf(err) != tt.class {
			t.Errorf("%v is %v", err, job.ClassOf(err))
		}
	}
}

func TestMistakes(t *testing.T) {
	ok := Config{Brokers: []string{"a:9092"}, Topic: "t"}
	for field, change := range map[string]func(*Config){
		"":          func(*Config) {},
		"brokers":   func(c *Config) { c.Brokers = nil },
		"topic":     func(c *Config) { c.Topic = "" },
		"format":    func(c *Config) { c.Format = "Parquet" },
		"metadata":  func(c *Config) { c.Format, c.Metadata = "CSV", true },
		"from":      func(c *Config) { c.From = "yesterday" },
		"mechanism": func(c *Config) { c.Username, c.SASL = "u", "KERBEROS" },
		"username":  func(c *Config) { c.Password = "p" },
		"chunk":     func(c *Config) { c.ChunkBytes = -1 },
		"cert_file": func(c *Config) { c.KeyFile = "key.pem" },
	} {
		cfg := ok
		change(&cfg)
		_, err := New(cfg)
		sourcetest.WantMistake(t, err, field, "")
	}
}
