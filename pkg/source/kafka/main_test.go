package kafka

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"drayage/pkg/engine"
	"drayage/pkg/testkit"
)

// eng is the real engine that all tests of the package share.
var eng *engine.Client

func TestMain(m *testing.M) {
	testkit.WithEngine(m, func(c *engine.Client) { eng = c })
}

// broker starts a cluster of one broker with the topic "t".
func broker(t *testing.T, partitions int32, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	opts = append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(partitions, "t")}, opts...)
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func producer(t *testing.T, c *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	opts = append([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func admin(t *testing.T, c *kfake.Cluster) *kadm.Client {
	t.Helper()
	return kadm.NewClient(producer(t, c))
}

// produce appends values to a partition; an empty one is a tombstone.
func produce(t *testing.T, cl *kgo.Client, partition int32, values ...string) {
	t.Helper()
	for i, v := range values {
		r := &kgo.Record{Topic: "t", Partition: partition, Value: []byte(v), Key: fmt.Appendf(nil, "k%d", i)}
		if v == "" {
			r.Value = nil
		}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func mustNew(t *testing.T, c *kfake.Cluster, cfg Config) *Source {
	t.Helper()
	cfg.Brokers, cfg.Topic = c.ListenAddrs(), "t"
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
