// Package pipeline reads the pipeline file: the YAML that says what to
// extract, how to transform it and where to load it. It fills in defaults and
// parameters, and reports every mistake with its file, line and column. It
// knows nothing of sources, engines or queues.
package pipeline

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"drayage/pkg/job"
)

// MaxBytes bounds the text of a pipeline file; a job's record carries it.
const MaxBytes = 256 << 10

// Pipeline is a pipeline file, read and completed with its defaults.
type Pipeline struct {
	Name      string            `yaml:"pipeline" json:"pipeline"`
	Params    map[string]any    `yaml:"params" json:"params,omitempty"`
	Source    Source            `yaml:"source" json:"source"`
	Stages    []Stage           `yaml:"stages" json:"stages,omitempty"`       // at most MaxStages, in their order
	Transform string            `yaml:"transform" json:"transform,omitempty"` // empty: SELECT * FROM chunk
	Lookups   map[string]Lookup `yaml:"lookups" json:"lookups,omitempty"`
	Load      Load              `yaml:"load" json:"load,omitzero"`
	// Outputs, in the place of Transform and Load, are several SELECTs over the
	// same chunk, each with its table; at most MaxOutputs.
	Outputs []Output `yaml:"outputs" json:"outputs,omitempty"`
	// Incremental says that a job reads only what is new; nil: everything.
	Incremental *Incremental `yaml:"incremental" json:"incremental,omitempty"`
	Reject      Reject       `yaml:"reject" json:"reject"`
	Retry       Retry        `yaml:"retry" json:"retry"`
	Limits      Limits       `yaml:"limits" json:"limits"`
	// Schedule says when it runs again and again; nil: when it is submitted. It
	// is no part of a job.
	Schedule *Schedule `yaml:"schedule" json:"-"`
	Tests    []Test    `yaml:"tests" json:"-"` // of dray test; no part of a job

	secrets []string // values that Resolve filled in
}

// Output is a SELECT and the table that its rows go to.
type Output struct {
	Transform string `yaml:"transform" json:"transform,omitempty"` // empty: SELECT * FROM chunk
	Load      Load   `yaml:"load" json:"load"`

	key string // what its keys begin with in the file, such as "outputs[0]."
}

// MaxOutputs bounds the outputs of a pipeline.
const MaxOutputs = 32

// All are the outputs of the pipeline: those under outputs, or the one that
// transform and load make.
func (p *Pipeline) All() []Output {
	if len(p.Outputs) == 0 {
		return []Output{{Transform: p.Transform, Load: p.Load}}
	}
	all := slices.Clone(p.Outputs)
	for i := range all {
		all[i].key = fmt.Sprintf("outputs[%d].", i)
	}
	return all
}

// Key is the place of one of the output's keys in the file: "load.table" is it,
// or outputs[1].load.table.
func (o Output) Key(key string) string { return o.key + key }

// SQL is the output's SELECT.
func (o Output) SQL() string {
	if o.Transform == "" {
		return "SELECT * FROM chunk"
	}
	return o.Transform
}

// Load says where the rows go.
type Load struct {
	Table string `yaml:"table" json:"table"` // table or database.table
	// Create is the engine clause with which the table is created when it
	// does not exist, such as "ENGINE = MergeTree ORDER BY id". Empty: the
	// table must exist.
	Create string `yaml:"create" json:"create,omitempty"`
	// In place of Create, its parts; OrderBy must be there when any is.
	Engine      string            `yaml:"engine" json:"engine,omitempty"` // default MergeTree
	OrderBy     Expressions       `yaml:"order_by" json:"order_by,omitempty"`
	PartitionBy Expressions       `yaml:"partition_by" json:"partition_by,omitempty"`
	TTL         string            `yaml:"ttl" json:"ttl,omitempty"`
	Settings    map[string]string `yaml:"settings" json:"settings,omitempty"`
	Codecs      map[string]string `yaml:"codecs" json:"codecs,omitempty"` // by column
	OnCluster   string            `yaml:"on_cluster" json:"on_cluster,omitempty"`
	Sharded     bool              `yaml:"sharded" json:"sharded,omitempty"` // each chunk goes to one of DRAY_CLICKHOUSE_SHARDS
	Mode        string            `yaml:"mode" json:"mode,omitempty"`       // one of the Mode constants; default ModeAppend
	Evolve      string            `yaml:"evolve" json:"evolve,omitempty"`   // one of the Evolve constants; default EvolveRefuse
}

// Modes of loading.
const (
	ModeAppend     = "append"     // the rows are added
	ModeReplace    = "replace"    // the table holds the job's rows and no others, once they are verified
	ModePartitions = "partitions" // so do the partitions that the job has rows of
	ModeUpsert     = "upsert"     // a row takes the place of those with its sorting key and an older version
)

// What is done when the SELECT gives columns that the table does not have.
const (
	EvolveRefuse = "refuse" // the job fails and says which
	EvolveAdd    = "add"    // they are added
)

// Creates reports whether the table is to be made when it does not exist.
func (l Load) Creates() bool { return l.Create != "" || l.OrderBy != "" }

// Reject says how many rows may go to quarantine.
type Reject struct {
	// Max is the most rows of one chunk that may be rejected; above it the
	// chunk fails. Default DefaultRejects.
	Max *RowLimit `yaml:"max" json:"max"`
}

// Limit is the bound on the rejected rows of a chunk.
func (r Reject) Limit() RowLimit {
	if r.Max == nil {
		return DefaultRejects
	}
	return *r.Max
}

// Retry says how often a chunk is tried.
type Retry struct {
	Attempts int     `yaml:"attempts" json:"attempts"` // deliveries before the dead letter, 1 to 100, default 5
	Backoff  Backoff `yaml:"backoff" json:"backoff"`   // pause between them, default 1s..2m
}

// Limits bound what the job may use.
type Limits struct {
	InFlight int   `yaml:"in_flight" json:"in_flight,omitempty"` // chunks at the workers at once; 0: as many as there are slots
	Lease    Lease `yaml:"lease" json:"lease,omitzero"`          // connections to the source's server, shared by all jobs that name it
}

// Defaults of a pipeline.
const (
	DefaultChunk    = Size(128 << 20)
	DefaultAttempts = 5
)

// Columns are declared columns, written as in CREATE TABLE: "a String, b Int32".
type Columns []job.Column

// setDefaults completes what the file left out.
func (p *Pipeline) setDefaults() {
	p.Transform = strings.TrimRight(p.Transform, "; \n\t")
	for i := range p.Outputs {
		p.Outputs[i].Transform = strings.TrimRight(p.Outputs[i].Transform, "; \n\t")
	}
	if p.Source.Chunk == 0 {
		p.Source.Chunk = DefaultChunk
	}
	for name, l := range p.Lookups {
		l.setDefaults()
		p.Lookups[name] = l
	}
	if p.Reject.Max == nil {
		limit := DefaultRejects
		p.Reject.Max = &limit
	}
	if p.Schedule != nil {
		p.Schedule.setDefaults()
	}
	if p.Retry.Attempts == 0 {
		p.Retry.Attempts = DefaultAttempts
	}
	if p.Retry.Backoff == (Backoff{}) {
		p.Retry.Backoff = DefaultBackoff
	}
}

// Text writes the pipeline as a file that Parse reads: JSON, which is YAML. Its
// parameters are filled in; ${env:…} and the like stand in it as they did.
func (p *Pipeline) Text() (string, error) {
	text, err := json.Marshal(p)
	return string(text), err
}
