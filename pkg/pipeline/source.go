package pipeline

import (
	"reflect"
	"strings"
)

// Source says what to extract: exactly one kind is set. A kind is a field that
// is a pointer to a struct.
type Source struct {
	Files      *Files      `yaml:"files" json:"files,omitempty"`
	ClickHouse *ClickHouse `yaml:"clickhouse" json:"clickhouse,omitempty"`
	Postgres   *Keyed      `yaml:"postgres" json:"postgres,omitempty"`
	MySQL      *Keyed      `yaml:"mysql" json:"mysql,omitempty"`
	Query      *Query      `yaml:"query" json:"query,omitempty"`
	Generate   *Generate   `yaml:"generate" json:"generate,omitempty"`
	Kafka      *Kafka      `yaml:"kafka" json:"kafka,omitempty"`
	JetStream  *JetStream  `yaml:"jetstream" json:"jetstream,omitempty"`
	HTTP       *HTTP       `yaml:"http" json:"http,omitempty"`
	Custom     *Custom     `yaml:"custom" json:"custom,omitempty"`
	Columns    Columns     `yaml:"columns" json:"columns,omitempty"` // empty: found out when the job is planned, then frozen
	Chunk      Size        `yaml:"chunk" json:"chunk"`               // target size of a chunk in bytes, default DefaultChunk
	Rows       uint64      `yaml:"rows" json:"rows,omitempty"`       // target size of a chunk in rows, of kinds that can count them; 0: by Chunk
}

// Kinds lists the kinds that are set, by their keys.
func (s *Source) Kinds() []string { return s.kinds(true) }

// Kind is the kind that is set, such as "files"; empty when none is.
func (s *Source) Kind() string {
	if set := s.Kinds(); len(set) > 0 {
		return set[0]
	}
	return ""
}

// allKinds lists the kinds that there are, by their keys.
func allKinds() []string { return new(Source).kinds(false) }

func (s *Source) kinds(set bool) []string {
	var names []string
	for f, v := range reflect.ValueOf(s).Elem().Fields() {
		if v.Kind() == reflect.Pointer && !(set && v.IsNil()) {
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			names = append(names, name)
		}
	}
	return names
}
