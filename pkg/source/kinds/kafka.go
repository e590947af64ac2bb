package kinds

import (
	"strings"

	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/source/kafka"
	"drayage/pkg/source/messages"
)

// kafkaConfig is the configuration of a source of Kafka. Brokers are a list, or
// have commas between them as everywhere else with Kafka.
func kafkaConfig(s *pipeline.Source, env Env) kafka.Config {
	k := s.Kafka
	var brokers []string
	for _, some := range k.Brokers {
		for one := range strings.SplitSeq(some, ",") {
			brokers = append(brokers, strings.TrimSpace(one))
		}
	}
	return kafka.Config{
		Brokers: brokers, Topic: k.Topic, TLS: k.TLS,
		Certificates: source.Certificates{CAFile: k.CAFile, CertFile: k.CertFile, KeyFile: k.KeyFile, Dir: env.Dir, Allow: env.Allow},
		Username:     k.Username, Password: k.Password, SASL: k.Mechanism,
		Settings: messages.Settings{Format: k.Format, From: k.From, Metadata: k.Metadata, ChunkBytes: int64(s.Chunk), Rows: s.Rows},
		Columns:  s.Columns, Seats: env.Seats, Bounds: env.Bounds,
	}
}
