package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

const (
	// patience bounds how long a request is tried again within one call.
	patience = 15 * time.Second
	// reconnects bounds how often a request is tried again within one call.
	reconnects = 4
)

// client is a connection to the brokers, which takes one seat.
type client struct {
	s       *Source
	kgo     *kgo.Client
	adm     *kadm.Client
	release func()
}

// mechanism returns how to log in, nil for not at all; false when it is not
// known.
func mechanism(c Config) (sasl.Mechanism, bool) {
	switch strings.ToUpper(c.SASL) {
	case "", "PLAIN":
		if c.Username == "" {
			return nil, true
		}
		return plain.Auth{User: c.Username, Pass: c.Password}.AsMechanism(), true
	case "SCRAM-SHA-256":
		return scram.Auth{User: c.Username, Pass: c.Password}.AsSha256Mechanism(), true
	case "SCRAM-SHA-512":
		return scram.Auth{User: c.Username, Pass: c.Password}.AsSha512Mechanism(), true
	}
	return nil, false
}

// connect takes a seat; the context that it returns is that of the seat.
func (s *Source) connect(ctx context.Context) (context.Context, *client, error) {
	certificates, err := s.cfg.Certificates.TLS()
	if err != nil {
		return nil, nil, fmt.Errorf("connecting to Kafka: %w", err)
	}
	held, release, err := s.cfg.Seats.Take(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("waiting for a seat at Kafka: %w", err)
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(s.cfg.Brokers...), kgo.ClientID("drayage"),
		kgo.RequestRetries(reconnects), kgo.RetryTimeout(patience),
		kgo.DisableClientMetrics(),
		kgo.Dialer(s.cfg.dialer(certificates)),
		kgo.MetadataMinAge(stallPause), // or a leader that moved would be looked for in the cache
	}
	if m, _ := mechanism(s.cfg); m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	c, err := kgo.NewClient(opts...)
	if err != nil {
		release()
		return nil, nil, job.Permanentf("setting up the client of Kafka: %w", err)
	}
	return held, &client{s: s, kgo: c, adm: kadm.NewClient(c), release: release}, nil
}

// dialer connects to brokers, those too that other brokers name.
func (c Config) dialer(certificates *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := c.Allow.Dialer(net.Dialer{Timeout: patience})
	if !c.TLS && !c.Some() {
		return dial
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		cfg := certificates.Clone()
		cfg.ServerName = host
		secured := tls.Client(conn, cfg)
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secured, nil
	}
}

func (c *client) close() {
	c.kgo.Close()
	c.release()
}

// topic asks for the topic's ID and the leaders of its partitions.
func (c *client) topic(ctx context.Context) (kadm.TopicDetail, error) {
	doing := "asking for the topic " + c.s.cfg.Topic
	all, err := c.adm.ListTopicsWithInternal(ctx, c.s.cfg.Topic)
	if err != nil {
		return kadm.TopicDetail{}, classify(doing, err)
	}
	t, ok := all[c.s.cfg.Topic]
	switch {
	case !ok || errors.Is(t.Err, kerr.UnknownTopicOrPartition):
		return t, job.Permanentf("%s: %w: there is no such topic: check topic and brokers: %w", doing, source.ErrGone, kerr.UnknownTopicOrPartition)
	case t.Err != nil:
		return t, classify(doing, t.Err)
	}
	return t, nil
}

// same asks for the topic, and checks that it is the one with id.
func (c *client) same(ctx context.Context, id topicID) (kadm.TopicDetail, error) {
	t, err := c.topic(ctx)
	if err != nil {
		return t, err
	}
	if now := topicID(t.ID); !id.zero() && !now.zero() && id != now {
		return t, job.Permanentf("topic %s: %w: it was deleted and made anew: start again with --full", c.s.cfg.Topic, source.ErrChanged)
	}
	return t, nil
}

// offsets collects what a request for offsets answers, by partition.
func (c *client) offsets(doing string, listed kadm.ListedOffsets, err error) (map[int32]int64, error) {
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, classify(doing+" of "+c.s.cfg.Topic, err)
	}
	all := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { all[o.Partition] = o.Offset })
	return all, nil
}
