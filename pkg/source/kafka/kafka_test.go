package kafka

import (
	"encoding/json"
	"errors"
	"fmt"
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
)

var columnN = []job.Column{{Name: "n", Type: "Int64"}}

// Every message is read once, a plan goes on from any cursor with the same
// chunks though messages came in the meantime, and halves are the whole.
func TestEveryMessageOnce(t *testing.T) {
	c := broker(t, 3)
	cl := producer(t, c)
	produce(t, cl, 0, numbered(0, 25)...)
	produce(t, cl, 2, numbered(25, 60)...)
	s := mustNew(t, c, Config{Rows: 10})
	lines, chunks := load(t, s, columnN)
	if want := numbered(0, 60); !slices.Equal(lines, want) {
		t.Errorf("read %v", lines)
	}
	if len(chunks) != 7 || chunks[6].Inputs != 2 {
		t.Errorf("%d chunks of %d partitions", len(chunks), chunks[len(chunks)-1].Inputs)
	}
	produce(t, cl, 0, numbered(60, 70)...)
	for i, ch := range chunks {
		rest, err := plan(t, s, ch.Cursor)
		if err != nil || fmt.Sprint(rest) != fmt.Sprint(chunks[i+1:]) {
			t.Errorf("after chunk %d come %v (%v)", i, rest, err)
		}
		whole, err := bytesOf(t, s, ch.Input, columnN)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := s.Split(t.Context(), ch.Input, columnN)
		if err != nil {
			t.Fatal(err)
		}
		halves := ""
		for _, p := range parts {
			half, err := bytesOf(t, s, p.Input, columnN)
			if err != nil {
				t.Fatal(err)
			}
			halves += half
		}
		if halves != whole || len(parts) != 2 {
			t.Errorf("chunk %d: the halves are %q, the whole is %q", i, halves, whole)
		}
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
	produce(t, cl, 0, numbered(0, 5)...)
	var state json.RawMessage
	var all []string
	for round := range 3 {
		bounds, next, err := mustNew(t, c, Config{}).Bounds(t.Context(), state)
		if err != nil {
			t.Fatal(err)
		}
		produce(t, cl, 1, numbered(100*round, 100*round+3)...) // for the next job
		s := mustNew(t, c, Config{Bounds: bounds, Rows: 2})
		lines, chunks := load(t, s, columnN)
		for i, ch := range chunks {
			if rest, err := plan(t, s, ch.Cursor); err != nil || fmt.Sprint(rest) != fmt.Sprint(chunks[i+1:]) {
				t.Errorf("round %d: after chunk %d come %v (%v)", round, i, rest, err)
			}
		}
		all = append(all, lines...)
		state = next
	}
	if want := slices.Concat(numbered(0, 5), numbered(0, 3), numbered(100, 103)); !slices.Equal(all, want) {
		t.Errorf("read %v", all)
	}
}

func TestWhatIsGone(t *testing.T) {
	for name, tt := range map[string]struct {
		meanwhile func(t *testing.T, a *kadm.Client)
		open      error // of the chunk
		bounds    error // of a job that follows the state
		text      string
	}{
		"OK": {func(*testing.T, *kadm.Client) {}, nil, nil, ""},
		"retention": {func(t *testing.T, a *kadm.Client) {
			var to kadm.Offsets
			to.AddOffset("t", 0, 8, -1)
			if _, err := a.DeleteRecords(t.Context(), to); err != nil {
				t.Fatal(err)
			}
		}, source.ErrGone, source.ErrGone, "partition 0"},
		"deleted": {func(t *testing.T, a *kadm.Client) {
			if _, err := a.DeleteTopics(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
		}, source.ErrGone, source.ErrGone, "topic"},
		"made anew": {func(t *testing.T, a *kadm.Client) {
			if _, err := a.DeleteTopics(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
			if _, err := a.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
				t.Fatal(err)
			}
		}, source.ErrChanged, source.ErrChanged, "anew"},
	} {
		t.Run(name, func(t *testing.T) {
			c := broker(t, 1)
			cl := producer(t, c)
			produce(t, cl, 0, numbered(0, 5)...)
			s := mustNew(t, c, Config{})
			_, state, err := s.Bounds(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			produce(t, cl, 0, numbered(5, 10)...)
			_, chunks := load(t, s, columnN)
			tt.meanwhile(t, admin(t, c))
			check := func(doing string, err, want error) {
				if !errors.Is(err, want) || want != nil && (job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), tt.text)) {
					t.Errorf("%s: %v", doing, err)
				}
			}
			_, err = bytesOf(t, s, chunks[0].Input, columnN)
			check("opening", err, tt.open)
			_, _, err = s.Bounds(t.Context(), state)
			check("following", err, tt.bounds)
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
	send(kgo.TryCommit, numbered(0, 3)...)
	send(kgo.TryAbort, numbered(3, 6)...)
	send(kgo.TryCommit, numbered(6, 8)...)
	send(kgo.TryAbort, numbered(8, 9)...)
	for _, rows := range []uint64{1, 3, 100} {
		lines, _ := load(t, mustNew(t, c, Config{Rows: rows}), columnN)
		if want := slices.Concat(numbered(0, 3), numbered(6, 8)); !slices.Equal(lines, want) {
			t.Errorf("in chunks of %d: %v", rows, lines)
		}
	}
}

// What the engine reads of messages, with metadata beside them.
func TestColumnsAndMetadata(t *testing.T) {
	c := broker(t, 1)
	cl := producer(t, c)
	produce(t, cl, 0, "{\"n\": 1,\n\"s\": \"a\"}", "", "{}", "no JSON {\n}", `{"n": 2, "s": "\""}`)
	s := mustNew(t, c, Config{Metadata: true})
	columns, err := s.Columns(t.Context(), eng)
	if err != nil {
		t.Fatal(err)
	}
	want := "[{n Nullable(Int64)} {s Nullable(String)} {_topic LowCardinality(String)} {_partition Int32} {_offset Int64} {_timestamp DateTime64(3, 'UTC')} {_key Nullable(String)}]"
	if fmt.Sprint(columns) != want {
		t.Errorf("the columns are %v", columns)
	}
	lines, _ := load(t, s, []job.Column{columns[0], columns[1], columns[4], columns[6]})
	wantLines := []string{
		`{"_offset":0,"_key":"k0","n": 1, "s": "a"}`,
		`{"_offset":2,"_key":"k2"}`,
		`"no JSON {\u000a}"`,
		`{"_offset":4,"_key":"k4","n": 2, "s": "\""}`,
	}
	if !slices.Equal(lines, wantLines) {
		t.Errorf("the rows are %q", lines)
	}
	if n := s.Tombstones(); n != 1 {
		t.Errorf("%d tombstones", n)
	}
	if s.Size(t.Context()) == 0 {
		t.Error("the size is not estimated")
	}
}

func TestEmptyTopic(t *testing.T) {
	c := broker(t, 1)
	if _, err := mustNew(t, c, Config{}).Columns(t.Context(), eng); job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), "declare columns") {
		t.Errorf("the error is %v", err)
	}
	s := mustNew(t, c, Config{Columns: columnN})
	if got, err := s.Columns(t.Context(), eng); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if lines, chunks := load(t, s, columnN); len(lines)+len(chunks) != 0 {
		t.Errorf("%d chunks", len(chunks))
	}
	missing := mustNew(t, c, Config{Columns: columnN})
	missing.cfg.Topic = "other"
	if _, err := missing.Columns(t.Context(), eng); !errors.Is(err, source.ErrGone) || job.ClassOf(err) != job.Permanent {
		t.Errorf("a topic that is not there: %v", err)
	}
}

func TestLogin(t *testing.T) {
	c := broker(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "right"))
	s := mustNew(t, c, Config{Username: "u", Password: "right", Columns: columnN})
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
	s = mustNew(t, c, Config{Username: "u", Password: "mistaken", Columns: columnN})
	if _, err := s.Columns(t.Context(), eng); job.ClassOf(err) != job.Permanent || strings.Contains(err.Error(), "mistaken") {
		t.Errorf("with a wrong password: %v", err)
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
	} {
		cfg := ok
		change(&cfg)
		_, err := New(cfg)
		var wrong *source.FieldError
		if field == "" && err != nil || field != "" && (!errors.As(err, &wrong) || wrong.Field != field) {
			t.Errorf("%q: %v", field, err)
		}
	}
}
