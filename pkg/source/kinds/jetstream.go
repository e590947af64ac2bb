package kinds

import (
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/source/jetstream"
	"drayage/pkg/source/messages"
)

// jetstreamConfig is the configuration of a source of JetStream.
func jetstreamConfig(s *pipeline.Source, env Env) jetstream.Config {
	j := s.JetStream
	return jetstream.Config{
		URL: j.URL, Stream: j.Stream, Subject: j.Subject,
		Login: jetstream.Login{
			User: j.User, Password: j.Password, Token: j.Token, NKey: j.NKey, Creds: j.Creds,
			Certificates: source.Certificates{CAFile: j.CAFile, CertFile: j.CertFile, KeyFile: j.KeyFile, Dir: env.Dir, Allow: env.Allow},
		},
		Settings: messages.Settings{Format: j.Format, From: j.From, Metadata: j.Metadata, ChunkBytes: int64(s.Chunk), Rows: s.Rows},
		Columns:  s.Columns, Seats: env.Seats, Bounds: env.Bounds,
	}
}
