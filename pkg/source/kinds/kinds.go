// Package kinds is the one list of the kinds of source: it makes the source
// that a pipeline names.
package kinds

import (
	"encoding/json"
	"errors"

	"drayage/pkg/allow"
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/source/clickhouse"
	"drayage/pkg/source/jetstream"
	"drayage/pkg/source/kafka"
	"drayage/pkg/source/keyed"
	"drayage/pkg/source/mysql"
	"drayage/pkg/source/postgres"
	"drayage/pkg/source/relation"
	"drayage/pkg/source/rest"
)

// Env is what a source finds around it.
type Env struct {
	Dir   string       // where relative paths start
	Seats source.Seats // for connections to a server; nil: unbounded
	// Bounds are what a job of an incremental pipeline reads; nil: everything.
	Bounds json.RawMessage
	// Seen reports whether an input was loaded by an earlier job, by its
	// Version; nil: none was.
	Seen func(version string) bool
	// Allow says what may be reached; nil: everything.
	Allow *allow.Rules
	// Custom are the kinds that this dray was built with beside those here.
	Custom source.Registry
}

// New makes the source of a pipeline whose references were resolved. It opens
// nothing. What is wrong with the source's keys is of type source.FieldErrors; a
// custom kind that env does not have is a *source.UnknownKindError.
func New(p *pipeline.Pipeline, env Env) (source.Source, error) {
	s := &p.Source
	if err := reach(s, env); err != nil {
		return nil, err
	}
	switch {
	case s.Files != nil:
		return newFiles(s, env)
	case s.ClickHouse != nil:
		c := s.ClickHouse
		return clickhouse.New(clickhouse.Config{
			URL: c.URL, User: c.User, Password: c.Password, CAFile: c.CAFile, Table: c.Table, Query: c.Query, Where: c.Where,
			Columns: s.Columns, ChunkBytes: int64(s.Chunk), ChunkRows: s.Rows, Seats: env.Seats, Allow: env.Allow,
			Watermark: p.Watermark(), Bounds: env.Bounds,
		})
	case s.Postgres != nil:
		return postgres.New(postgres.Config(keyedConfig(p, *s.Postgres, env)))
	case s.MySQL != nil:
		return mysql.New(mysql.Config(keyedConfig(p, *s.MySQL, env)))
	case s.Query != nil:
		q := s.Query
		cfg := relation.Config{SQL: q.SQL, Values: q.Values, Settings: q.Settings, Columns: s.Columns}
		if r := q.Range; r != nil {
			cfg.Range = &relation.Range{From: r.From, To: r.To, Step: r.Step}
		}
		return relation.New(cfg)
	case s.Generate != nil:
		return relation.Generate(relation.GenerateConfig{
			Rows: s.Generate.Rows, Select: s.Generate.Select, ChunkRows: s.Rows, Columns: s.Columns,
		})
	case s.Kafka != nil:
		return kafka.New(kafkaConfig(s, env))
	case s.JetStream != nil:
		return jetstream.New(jetstreamConfig(s, env))
	case s.HTTP != nil:
		return rest.New(httpConfig(s, env))
	case s.Custom != nil:
		return custom(p, env)
	}
	return nil, errors.New("the pipeline's source has no kind")
}

// keyedConfig is the configuration of a table or query that is cut by its key.
func keyedConfig(p *pipeline.Pipeline, c pipeline.Keyed, env Env) keyed.Config {
	s := &p.Source
	return keyed.Config{
		URL: c.URL, Table: c.Table, Query: c.Query, Key: c.Key, Where: c.Where,
		Columns: s.Columns, ChunkBytes: int64(s.Chunk), Rows: s.Rows, Seats: env.Seats, Allow: env.Allow,
		Watermark: p.Watermark(), Bounds: env.Bounds,
	}
}
