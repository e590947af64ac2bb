package jetstream

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/messages"
	"drayage/pkg/source/sourcetest"
)

func TestSuite(t *testing.T) {
	b := newBroker(t, jetstream.StreamConfig{})
	var want []string
	for i := range 70 {
		b.publish(t, "s.a", fmt.Sprintf(`{"n":%d}`, i))
		b.publish(t, "s.b", "other")
		want = append(want, fmt.Sprintf("[%d]", i))
	}
	sourcetest.Run(t, sourcetest.Case{
		New: func() (source.Source, error) {
			return New(Config{URL: b.url, Stream: "S", Subject: "s.a", Columns: []job.Column{{Name: "n", Type: "UInt32"}}, Settings: messages.Settings{Rows: 20}})
		},
		Engine: eng, Want: want, Chunks: 7,
	})
}
