package jetstream

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/engine"
	"drayage/pkg/source"
	"drayage/pkg/source/messages/messagestest"
	"drayage/pkg/source/sourcetest"
	"drayage/pkg/testkit"
)

// eng is the real engine that all tests of the package share.
var eng *engine.Client

func TestMain(m *testing.M) {
	testkit.WithEngine(m, func(c *engine.Client) { eng = c })
}

// broker is a server with the stream "S" of the subjects s.>.
type broker struct {
	url    string
	server *server.Server
	js     jetstream.JetStream
}

func start(t *testing.T, opts server.Options) broker {
	t.Helper()
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	opts.JetStream, opts.StoreDir = true, t.TempDir()
	s, err := server.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return broker{url: s.ClientURL(), server: s}
}

func newBroker(t *testing.T, cfg jetstream.StreamConfig) broker {
	t.Helper()
	b := start(t, server.Options{})
	nc, err := nats.Connect(b.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if b.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	b.create(t, cfg)
	return b
}

func (b broker) create(t *testing.T, cfg jetstream.StreamConfig) {
	t.Helper()
	cfg.Name, cfg.Subjects = "S", []string{"s.>"}
	if _, err := b.js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

func (b broker) stream(t *testing.T) jetstream.Stream {
	t.Helper()
	s, err := b.js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (b broker) publish(t *testing.T, subject string, values ...string) {
	t.Helper()
	for _, v := range values {
		if _, err := b.js.Publish(t.Context(), subject, []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
}

func (b broker) source(t *testing.T, cfg Config) *Source {
	t.Helper()
	cfg.URL, cfg.Stream = b.url, "S"
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// opened is the first chunk of all that the stream has.
func (b broker) opened(t *testing.T) *source.Input {
	t.Helper()
	s := b.source(t, Config{})
	chunks, err := sourcetest.Plan(t, s, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Open(t.Context(), chunks[0].Input, messagestest.ColumnN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	return in
}
