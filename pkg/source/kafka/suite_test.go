package kafka

import (
	"fmt"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/messages"
	"drayage/pkg/source/messages/messagestest"
	"drayage/pkg/source/sourcetest"
)

func TestSuite(t *testing.T) {
	c := broker(t, 3)
	cl := producer(t, c)
	var want []string
	for i := range 3 {
		produce(t, cl, int32(i), messagestest.Numbered(100*i, 100*i+60+i)...)
		for n := 100 * i; n < 100*i+60+i; n++ {
			want = append(want, fmt.Sprintf("[%d]", n))
		}
	}
	sourcetest.Run(t, sourcetest.Case{
		New: func() (source.Source, error) {
			return New(Config{Brokers: c.ListenAddrs(), Topic: "t", Columns: []job.Column{{Name: "n", Type: "UInt32"}}, Settings: messages.Settings{Rows: 20}})
		},
		Engine: eng, Want: want, Chunks: 9,
	})
}
