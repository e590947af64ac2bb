package jetstream

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/messages"
	"drayage/pkg/source/messages/messagestest"
	"drayage/pkg/source/sourcetest"
)

// Every message is read once, and the stream is as it was.
func TestEveryMessageOnce(t *testing.T) {
	b := newBroker(t, jetstream.StreamConfig{})
	b.publish(t, "s.a", messagestest.Numbered(0, 35)...)
	s := b.source(t, Config{Settings: messages.Settings{Rows: 10}})
	chunks := messagestest.Once(t, s, messagestest.Numbered(0, 35), func() {
		b.publish(t, "s.a", messagestest.Numbered(35, 40)...)
	})
	if len(chunks) != 4 {
		t.Errorf("%d chunks", len(chunks))
	}
	if at := source.Place(s, chunks[1].Input); at != "S messages 11-21" {
		t.Errorf("chunk 1 is at %s", at)
	}
	if _, err := s.Split(t.Context(), json.RawMessage(`{"c":1,"a":2,"z":3,"m":1}`), nil); !errors.Is(err, source.ErrWhole) {
		t.Errorf("one message is cut: %v", err)
	}
	info, err := b.stream(t).Info(t.Context())
	if err != nil || info.State.Msgs != 40 || info.State.Consumers != 0 {
		t.Errorf("the stream is left as %+v (%v)", info.State, err)
	}
}

// Only the messages of the subject are read, also where a chunk has none, and
// what was removed in the middle is no trouble.
func TestSubjectAndGaps(t *testing.T) {
	b := newBroker(t, jetstream.StreamConfig{})
	for i := range 10 {
		b.publish(t, "s.a", fmt.Sprintf(`{"n":%d}`, i))
		b.publish(t, "s.b.c", "other", "other")
	}
	b.publish(t, "s.b", slices.Repeat([]string{"other"}, 20)...)
	for _, seq := range []uint64{4, 7, 50} {
		if err := b.stream(t).DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	want := slices.Concat(messagestest.Numbered(0, 1), messagestest.Numbered(3, 10))
	for _, rows := range []uint64{1, 7, 100} {
		if lines, _ := messagestest.Load(t, b.source(t, Config{Subject: "s.a", Settings: messages.Settings{Rows: rows}}), messagestest.ColumnN); !slices.Equal(lines, want) {
			t.Errorf("in chunks of %d: %v", rows, lines)
		}
	}
}

func TestJobsFollow(t *testing.T) {
	b := newBroker(t, jetstream.StreamConfig{})
	b.publish(t, "s.a", messagestest.Numbered(0, 5)...)
	messagestest.Follow(t, func(bounds json.RawMessage) messagestest.Source {
		return b.source(t, Config{Bounds: bounds, Settings: messages.Settings{Rows: 2}})
	}, func(round int) {
		b.publish(t, "s.a", messagestest.Numbered(5+3*round, 8+3*round)...)
	}, messagestest.Numbered(0, 11))
}

func TestWhatIsGone(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg       jetstream.StreamConfig
		meanwhile func(t *testing.T, b broker)
		want      error
		text      string
	}{
		"OK": {jetstream.StreamConfig{}, func(*testing.T, broker) {}, nil, ""},
		"purged": {jetstream.StreamConfig{}, func(t *testing.T, b broker) {
			if err := b.stream(t).Purge(t.Context(), jetstream.WithPurgeSequence(8)); err != nil {
				t.Fatal(err)
			}
		}, source.ErrGone, "stream S"},
		"all purged": {jetstream.StreamConfig{}, func(t *testing.T, b broker) {
			if err := b.stream(t).Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, source.ErrGone, "--full"},
		"replaced": {jetstream.StreamConfig{MaxMsgsPerSubject: 10}, func(t *testing.T, b broker) {
			b.publish(t, "s.a", messagestest.Numbered(10, 18)...)
		}, nil, ""},
		"limits": {jetstream.StreamConfig{MaxMsgs: 10}, func(t *testing.T, b broker) {
			b.publish(t, "s.a", messagestest.Numbered(10, 18)...)
		}, source.ErrGone, "removed them"},
		"replaced or limits": {jetstream.StreamConfig{MaxMsgsPerSubject: 10, MaxMsgs: 100}, func(t *testing.T, b broker) {
			b.publish(t, "s.a", messagestest.Numbered(10, 18)...)
		}, source.ErrGone, "removed them"},
		"deleted": {jetstream.StreamConfig{}, func(t *testing.T, b broker) {
			if err := b.js.DeleteStream(t.Context(), "S"); err != nil {
				t.Fatal(err)
			}
		}, source.ErrGone, "no such stream"},
		"made anew": {jetstream.StreamConfig{}, func(t *testing.T, b broker) {
			if err := b.js.DeleteStream(t.Context(), "S"); err != nil {
				t.Fatal(err)
			}
			b.create(t, jetstream.StreamConfig{})
			b.publish(t, "s.a", messagestest.Numbered(0, 20)...)
		}, source.ErrChanged, "anew"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(t, tt.cfg)
			messagestest.Gone(t, b.source(t, Config{}), func(values ...string) { b.publish(t, "s.a", values...) },
				func() { tt.meanwhile(t, b) }, tt.want, tt.text)
		})
	}
}

// Messages that are removed after a chunk was opened, and before they were read,
// are missed.
func TestRemovedWhileRead(t *testing.T) {
	b := newBroker(t, jetstream.StreamConfig{})
	b.publish(t, "s.a", messagestest.Numbered(0, 10)...)
	in := b.opened(t)
	if err := b.stream(t).Purge(t.Context(), jetstream.WithPurgeSequence(4)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(in.Reader); !errors.Is(err, source.ErrGone) || !errors.Is(in.Check(), source.ErrGone) {
		t.Errorf("reading: %v, and then %v", err, in.Check())
	}
}

// What was read may leave the stream, also where other subjects leave gaps; what
// was not may not.
func TestRemovedBehind(t *testing.T) {
	b := newBroker(t, jetstream.StreamConfig{})
	const n = 1500
	for _, v := range messagestest.Numbered(0, n) {
		b.publish(t, "s.a", v)
		b.publish(t, "s.b", "other")
	}
	s := b.source(t, Config{Subject: "s.a"})
	chunks, err := sourcetest.Plan(t, s, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		before uint64
		want   error
	}{{900, nil}, {3000, source.ErrGone}} {
		in, err := s.Open(t.Context(), chunks[0].Input, messagestest.ColumnN)
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReaderSize(in.Reader, 16)
		for range 700 {
			if _, err := r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		// The stream was looked at after 500 messages, which are 999 numbers.
		if err := b.stream(t).Purge(t.Context(), jetstream.WithPurgeSequence(tt.before)); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(r)
		if !errors.Is(err, tt.want) || err == nil && !strings.HasSuffix(string(rest), fmt.Sprintf("{\"n\":%d}\n", n-1)) {
			t.Errorf("purged before %d: %d bytes and %v", tt.before, len(rest), err)
		}
		_ = in.Close()
		chunks[0].Input = json.RawMessage(strings.Replace(string(chunks[0].Input), `"a":1,`, `"a":901,`, 1))
	}
}

// A consumer that is removed under way is made anew.
func TestConsumerRemoved(t *testing.T) {
	b := newBroker(t, jetstream.StreamConfig{})
	b.publish(t, "s.a", messagestest.Numbered(0, 1200)...)
	in := b.opened(t)
	first := make([]byte, 8)
	if _, err := io.ReadFull(in.Reader, first); err != nil {
		t.Fatal(err)
	}
	for name := range b.stream(t).ConsumerNames(t.Context()).Name() {
		if err := b.stream(t).DeleteConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	rest, err := io.ReadAll(in.Reader)
	if err != nil || string(first)+string(rest) != strings.Join(messagestest.Numbered(0, 1200), "\n")+"\n" {
		t.Errorf("read %d bytes: %v", len(rest), err)
	}
}

// A connection that the server ends in the middle of a chunk is made anew, and
// the chunk goes on where it was.
func TestConnectionCut(t *testing.T) {
	b := newBroker(t, jetstream.StreamConfig{})
	const n = 1200 // more than are buffered
	b.publish(t, "s.a", messagestest.Numbered(0, n)...)
	in := b.opened(t)
	first := make([]byte, 8)
	if _, err := io.ReadFull(in.Reader, first); err != nil {
		t.Fatal(err)
	}
	cut := 0
	all, err := b.server.Connz(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all.Conns {
		if c.Name == "drayage" {
			cut++
			if err := b.server.DisconnectClientByID(c.Cid); err != nil {
				t.Fatal(err)
			}
		}
	}
	rest, err := io.ReadAll(in.Reader)
	if err != nil || cut != 1 || string(first)+string(rest) != strings.Join(messagestest.Numbered(0, n), "\n")+"\n" {
		t.Errorf("%d connections were cut, then %d bytes came: %v", cut, len(rest), err)
	}
}

// A server that is gone and stays so ends the chunk, which is tried again.
func TestServerGone(t *testing.T) {
	b := newBroker(t, jetstream.StreamConfig{})
	b.publish(t, "s.a", messagestest.Numbered(0, 3)...)
	s := b.source(t, Config{})
	_, chunks := messagestest.Load(t, s, messagestest.ColumnN)
	b.server.Shutdown()
	b.server.WaitForShutdown()
	if _, err := sourcetest.Chunk(t, s, chunks[0].Input, messagestest.ColumnN); job.ClassOf(err) != job.Retry || !strings.Contains(err.Error(), "stream S") {
		t.Errorf("the error is %v", err)
	}
}

func TestRetention(t *testing.T) {
	b := newBroker(t, jetstream.StreamConfig{Retention: jetstream.WorkQueuePolicy})
	s := b.source(t, Config{Columns: messagestest.ColumnN})
	if _, err := s.Columns(t.Context(), eng); job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), "retention") {
		t.Errorf("a work queue: %v", err)
	}
}

func TestFrom(t *testing.T) {
	b := newBroker(t, jetstream.StreamConfig{})
	b.publish(t, "s.a", messagestest.Numbered(0, 3)...)
	m, err := b.stream(t).GetMsg(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	after := m.Time.Truncate(time.Second).Add(time.Second)
	for time.Now().Before(after) {
		time.Sleep(10 * time.Millisecond) // the server's clock stamps the messages
	}
	b.publish(t, "s.a", messagestest.Numbered(3, 5)...)
	for from, want := range map[string][]string{
		"":                         messagestest.Numbered(0, 5),
		"latest":                   nil,
		after.Format(time.RFC3339): messagestest.Numbered(3, 5),
		"2999-01-01T00:00:00Z":     nil,
		"1999-01-01T00:00:00Z":     messagestest.Numbered(0, 5),
	} {
		if lines, _ := messagestest.Load(t, b.source(t, Config{Settings: messages.Settings{From: from}}), messagestest.ColumnN); !slices.Equal(lines, want) {
			t.Errorf("from %q: %v", from, lines)
		}
	}
}

func TestColumnsAndMetadata(t *testing.T) {
	b := newBroker(t, jetstream.StreamConfig{})
	b.publish(t, "s.a.b", "{\"n\": 1,\n\"s\": \"a\"}", "no JSON", "")
	marker := nats.NewMsg("s.k")
	marker.Header.Set("KV-Operation", "DEL")
	if _, err := b.js.PublishMsg(t.Context(), marker); err != nil {
		t.Fatal(err)
	}
	s := b.source(t, Config{Settings: messages.Settings{Metadata: true}})
	columns, err := s.Columns(t.Context(), eng)
	want := "[{n Nullable(Int64)} {s Nullable(String)} {_subject String} {_sequence UInt64} {_timestamp DateTime64(9, 'UTC')} {_headers Map(String, Array(String))}]"
	if err != nil || fmt.Sprint(columns) != want {
		t.Errorf("the columns are %v (%v)", columns, err)
	}
	traced := nats.NewMsg("s.t")
	traced.Header.Add("B", "2")
	traced.Header.Add("A", "1")
	traced.Header.Add("B", "3")
	traced.Data = []byte("{}")
	if _, err := b.js.PublishMsg(t.Context(), traced); err != nil {
		t.Fatal(err)
	}
	lines, _ := messagestest.Load(t, s, slices.Delete(slices.Clone(columns), 4, 5))
	if wantLines := []string{`{"_subject":"s.a.b","_sequence":1,"_headers":{},"n": 1, "s": "a"}`, `"no JSON"`, `""`, `{"_subject":"s.t","_sequence":5,"_headers":{"A":["1"],"B":["2","3"]}}`}; !slices.Equal(lines, wantLines) {
		t.Errorf("the rows are %q", lines)
	}
	if s.Size(t.Context()) == 0 {
		t.Error("the size is not estimated")
	}
}

func TestEmptyStream(t *testing.T) {
	b := newBroker(t, jetstream.StreamConfig{})
	messagestest.Empty(t, eng, b.source(t, Config{}), b.source(t, Config{Columns: messagestest.ColumnN}))
}

func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		err   error
		class job.Class
	}{
		{nats.ErrAuthorization, job.Permanent},
		{nats.ErrPermissionViolation, job.Permanent},
		{jetstream.ErrStreamNotFound, job.Permanent},
		{jetstream.ErrJetStreamNotEnabledForAccount, job.Permanent},
		{&jetstream.APIError{Code: 404, ErrorCode: jetstream.JSErrCodeStreamNotFound}, job.Permanent},
		{jetstream.ErrMaximumConsumersLimit, job.SlowDown},
		{nats.ErrNoServers, job.Retry},
		{nats.ErrNoResponders, job.Retry},
		{nats.ErrTimeout, job.Retry},
		{nats.ErrConnectionClosed, job.Retry},
		{errors.New("connection reset"), job.Retry},
	} {
		if err := classify("reading", tt.err); job.ClassOf(err) != tt.class {
			t.Errorf("%v is %v", err, job.ClassOf(err))
		}
	}
}

func TestMistakes(t *testing.T) {
	ok := Config{URL: "nats://u:secret@a:4222, tls://b", Stream: "S"}
	for field, change := range map[string]func(*Config){
		"":          func(*Config) {},
		"url":       func(c *Config) { c.URL = "nats://u:secret@%zz" },
		"stream":    func(c *Config) { c.Stream = "a.b" },
		"subject":   func(c *Config) { c.Subject = "a.>.b" },
		"format":    func(c *Config) { c.Format = "Parquet" },
		"metadata":  func(c *Config) { c.Format, c.Metadata = "CSV", true },
		"from":      func(c *Config) { c.From = "yesterday" },
		"chunk":     func(c *Config) { c.ChunkBytes = -1 },
		"user":      func(c *Config) { c.URL, c.Login = "nats://a", Login{Token: "secret", NKey: seed(t)} },
		"nkey":      func(c *Config) { c.URL, c.Login.NKey = "nats://a", "SUsecret" },
		"cert_file": func(c *Config) { c.Login.CertFile = "a.pem" },
	} {
		cfg := ok
		change(&cfg)
		_, err := New(cfg)
		sourcetest.WantMistake(t, err, field, "")
	}
}
