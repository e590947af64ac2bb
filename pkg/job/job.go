package job

import (
	"encoding/json"
	"slices"
	"time"
)

// Submission asks for a job. It is the message of the submit subject and the
// body of the HTTP API.
type Submission struct {
	// Job is the identifier the job is to have, at most 128 characters of
	// [a-z0-9_-]. The same identifier submitted twice is one job: that is
	// the idempotency key of scripts. Empty: the coordinator makes one.
	Job      string            `json:"job,omitempty"`
	Pipeline string            `json:"pipeline"`         // the text of the pipeline file, YAML
	File     string            `json:"file,omitempty"`   // its name, for messages
	Dir      string            `json:"dir,omitempty"`    // what relative paths in it start from, on the workers
	Params   map[string]string `json:"params,omitempty"` // values for its params
	// JobTime is what ${job_time} stands for: of a run of a schedule the time it
	// was planned for. Zero: the job's creation.
	JobTime time.Time `json:"job_time,omitzero"`
	// Full says that an incremental pipeline begins again, as if it had loaded
	// nothing yet.
	Full bool `json:"full,omitempty"`
	// Replay, when set, says that the job does not plan the pipeline's source
	// but loads what another job left.
	Replay *Replay `json:"replay,omitempty"`
	// Protocol is the lowest that a coordinator must speak to make a job of it,
	// see the constant; 0: any.
	Protocol int `json:"protocol,omitempty"`
}

// Replay names what a job takes over from another that has ended. What was
// claimed is in the other job's Claims, so that nothing is taken over twice.
type Replay struct {
	Job  string `json:"of_job"`
	What string `json:"what"` // one of the Replay constants
	// Chunks are those to take over, at most MaxClaimed, ascending.
	Chunks []uint64 `json:"chunks"`
}

// What a replay loads.
const (
	ReplayDead    = "dead"    // chunks that were dead-lettered
	ReplayRejects = "rejects" // rows in quarantine
	ReplayChunks  = "chunks"  // chunks whose rows were lost or doubled since
)

// Replayed says for a person what a replay takes over.
func Replayed(what string) string {
	switch what {
	case ReplayDead:
		return "the dead letters"
	case ReplayRejects:
		return "the rejected rows"
	}
	return "the whole"
}

// Claim says what another job has taken over from this one.
type Claim struct {
	Job    string   `json:"by_job"`
	What   string   `json:"what"`             // one of the Replay constants
	Chunks []uint64 `json:"chunks,omitempty"` // which; at most MaxClaimed in all claims of a job
}

// MaxClaimed bounds the chunks that can be taken over from one job.
const MaxClaimed = 20_000

// Job is the durable record of a job, the value of its key in the jobs bucket.
type Job struct {
	ID         string     `json:"job"`
	Name       string     `json:"pipeline"` // the pipeline's name; empty while it could not be read
	Submission Submission `json:"submission"`
	State      State      `json:"state"`
	Error      string     `json:"error,omitempty"` // why FAILED, for a person
	// Waiting says why a live job does not move on; nil while it does.
	Waiting *Waiting `json:"waiting,omitempty"`
	// Protocol is the lowest that a program must speak to work on the job, see
	// the constant; 0: any.
	Protocol int     `json:"protocol,omitempty"`
	Frozen   *Frozen `json:"frozen,omitempty"`
	Plan     Plan    `json:"plan"`
	Totals   Totals  `json:"totals"`
	Proof    *Proof  `json:"proof,omitempty"`
	// Repairs counts the times that verification found a difference and had
	// chunks replaced.
	Repairs int `json:"repairs,omitempty"`
	// InFlight is the bound on chunks at the workers while it is lowered
	// because ClickHouse asked to slow down; 0: as configured.
	InFlight int       `json:"in_flight,omitempty"`
	Claims   []Claim   `json:"claims,omitempty"`
	UndoneAt time.Time `json:"undone_at,omitzero"` // when undo took its rows out again
	// Publishing is true once a job with a Publish is verified: from then on its
	// rows are put in their place, and it can not be cancelled any more.
	Publishing bool `json:"publishing,omitempty"`
	// Trace is the W3C traceparent of the span that made the job: what is done for
	// it anywhere is below that. Empty: there is none.
	Trace string `json:"trace,omitempty"`
	// PublishedAt is when what a job with a Publish had loaded was put in its
	// place.
	PublishedAt time.Time `json:"published_at,omitzero"`
	CreatedAt   time.Time `json:"created_at"`
	StartedAt   time.Time `json:"started_at,omitzero"`
	FinishedAt  time.Time `json:"finished_at,omitzero"`
	// Moves are the latest, at most MaxMoves; History reads them.
	Moves []Move `json:"moves,omitempty"`
}

// Waiting is trouble that may pass, such as a database that does not answer: the
// step that met it is tried again until it goes well.
type Waiting struct {
	Error string    `json:"error"` // of a late try, for a person
	Since time.Time `json:"since"` // of the first try that failed
}

// Frozen is all that a job depends on beside its inputs, as it was when the
// job was planned. Workers use it and nothing else, so every attempt of a
// chunk computes the same rows. Inputs carry their version in each chunk.
type Frozen struct {
	// Pipeline is the pipeline with parameters filled in and defaults set;
	// only package pipeline reads it. It holds no secrets.
	Pipeline json.RawMessage `json:"pipeline"`
	Columns  []Column        `json:"columns"` // of the source
	// Staged are the columns that the pipeline's stages make of them; none
	// without stages.
	Staged []Column `json:"staged,omitempty"`
	Target          // the first output, and mostly the only one
	Others []Target `json:"others,omitempty"` // the other outputs
	// Lookups are what the SELECTs look up, by name.
	Lookups map[string]Lookup `json:"lookups,omitempty"`
	// Bounds are what a job of an incremental pipeline reads, and Next where the
	// job after it goes on; only the source reads them.
	Bounds json.RawMessage `json:"bounds,omitempty"`
	Next   json.RawMessage `json:"next,omitempty"`
	// At is when this was found out and chunks could begin.
	At time.Time `json:"at"`
	// JobTime is what ${job_time} stands for: the submission's, or the job's
	// creation.
	JobTime time.Time `json:"job_time"`

	unknown string // what the record had beyond this, as the decoder says it
}

// Targets are the outputs of the job, in their order.
func (f *Frozen) Targets() []Target { return append([]Target{f.Target}, f.Others...) }

// Chunk are the columns that the SELECTs find in chunk.
func (f *Frozen) Chunk() []Column {
	if len(f.Staged) > 0 {
		return f.Staged
	}
	return f.Columns
}

// Kept reports whether the input of a chunk is read more than once: it is then
// kept on the worker's disk while the chunk is computed.
func (f *Frozen) Kept() bool { return f.Rereads || len(f.Others) > 0 }

// Traceable reports whether every target says which chunk its rows came with, so
// that those of a chunk can be counted and taken out again.
func (f *Frozen) Traceable() bool {
	return !slices.ContainsFunc(f.Targets(), func(t Target) bool { return !t.Provenance })
}

// Fed reports whether materialized views hang on any target.
func (f *Frozen) Fed() bool {
	return slices.ContainsFunc(f.Targets(), func(t Target) bool { return t.Views })
}

// Publishes reports whether rows of any target are published once they are
// verified.
func (f *Frozen) Publishes() bool {
	return slices.ContainsFunc(f.Targets(), func(t Target) bool { return t.Publish != nil })
}

// Target is an output of a job: rows that a SELECT gives, for a table.
type Target struct {
	Selected []Column `json:"selected"` // what the SELECT gives
	Output   []Column `json:"output"`   // the same under the table's types, as they are sent
	// Database and Table are where the chunks are loaded: the target or, with
	// Publish, a staging table.
	Database string `json:"database"`
	Table    string `json:"table"`
	// Publish, when set, says where the verified rows go from there.
	Publish *Publish `json:"publish,omitempty"`
	// Provenance is true when the table has the columns _job and _chunk.
	Provenance bool `json:"provenance"`
	// Rereads is true when the SELECT names its input more than once.
	Rereads bool `json:"rereads,omitempty"`
	// Baseline is the number of rows a run of the SELECT over no input reads:
	// those of the lookups. It is subtracted from rows read.
	Baseline uint64 `json:"baseline"`
	// Views is true when materialized views hang on the table: what they were
	// fed can not be taken back chunk by chunk.
	Views bool `json:"views,omitempty"`
	// Shards, when there are any, are the servers that the chunks go to, by name.
	Shards []string `json:"shards,omitempty"`
}

// Shard is the name of the server that a chunk goes to, "" where there is one
// server for all. It is the same in every attempt.
func (t Target) Shard(chunk uint64) string {
	if len(t.Shards) == 0 {
		return ""
	}
	return t.Shards[chunk%uint64(len(t.Shards))]
}

// Holds is the table that holds the rows, before or after they were published.
func (t Target) Holds(published bool) (database, table string) {
	if t.Publish != nil && published {
		return t.Publish.Database, t.Publish.Table
	}
	return t.Database, t.Table
}

// Publish says what becomes of the staging table of a job once it is verified.
type Publish struct {
	Mode     string `json:"mode"` // one of the Publish constants
	Database string `json:"database"`
	Table    string `json:"table"` // the target
	// TargetUUID and StagingUUID are the two tables as they were when the job
	// was planned, so that neither is mistaken for one that was made since.
	TargetUUID  string `json:"target_uuid"`
	StagingUUID string `json:"staging_uuid"`
}

// What is put in the place of what.
const (
	PublishReplace    = "replace"    // the staging table in that of the target
	PublishPartitions = "partitions" // its partitions in those of the target
)

// Column is a name and a ClickHouse type.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Plan says how far planning is. It is moved after the chunks it counts were
// published, so a coordinator that takes over may publish some of them again;
// their subjects refuse the second publication.
type Plan struct {
	Chunks   uint64          `json:"chunks"` // published so far
	Bytes    int64           `json:"bytes"`
	Cursor   json.RawMessage `json:"cursor,omitempty"` // where the source goes on; only the source reads it
	Complete bool            `json:"complete"`
	Inputs   uint64          `json:"inputs"` // files, tables, … seen so far
	// EstimatedBytes is what the whole input is thought to hold, for the
	// progress bar; 0 when unknown.
	EstimatedBytes int64 `json:"estimated_bytes,omitempty"`
	// Replaced are the chunks that were retired and the chunks in their
	// place, at most MaxReplaced, in the order of the replacements' ordinals.
	Replaced []Replaced `json:"replaced,omitempty"`
}

// Replaced says that a chunk was retired: whatever it loaded is taken out
// again, and its input is loaded by others. A replacement has an ordinal of its
// own, so that its rows can never be mistaken for those of the retired chunk,
// however late a worker that was thought lost may still write them.
type Replaced struct {
	Chunk  uint64 `json:"chunk"`
	First  uint64 `json:"first"` // ordinal of the first replacement
	Count  uint64 `json:"count"` // of replacements, with the ordinals that follow First
	Reason string `json:"reason"`
}

// Reasons of a replacement.
const (
	ReplacedTooBig = "too_big" // it was cut into parts
	ReplacedRepair = "repair"  // ClickHouse did not hold its rows as recorded
)

// MaxReplaced bounds the replacements of a job.
const MaxReplaced = 5_000

// Total is the number of chunks that must have an outcome: those planned and
// the replacements.
func (p Plan) Total() uint64 { return p.Chunks + p.Replacements() }

// Replacements is the number of chunks that replace others.
func (p Plan) Replacements() uint64 {
	if len(p.Replaced) == 0 {
		return 0
	}
	last := p.Replaced[len(p.Replaced)-1]
	return last.First + last.Count - FirstReplacement
}

// Retired reports whether the chunk was replaced.
func (p Plan) Retired(chunk uint64) bool {
	return slices.ContainsFunc(p.Replaced, func(r Replaced) bool { return r.Chunk == chunk })
}

// Generation is that of the chunk: 0 as planned, one more than that of the
// chunk it replaces.
func (p Plan) Generation(chunk uint64) uint32 {
	for _, r := range p.Replaced {
		if chunk >= r.First && chunk < r.First+r.Count {
			return p.Generation(r.Chunk) + 1
		}
	}
	return 0
}

// Totals are sums over the effective results and dead letters of a job.
type Totals struct {
	Chunks       uint64 `json:"chunks"` // whose rows are loaded
	Dead         uint64 `json:"dead"`
	Retired      uint64 `json:"retired,omitempty"` // replaced by others
	RowsRead     uint64 `json:"rows_read"`
	RowsLoaded   uint64 `json:"rows_loaded"`
	RowsRejected uint64 `json:"rows_rejected"`
	BytesRead    int64  `json:"bytes_read"`
	BytesLoaded  int64  `json:"bytes_loaded"`
	Redelivered  uint64 `json:"redelivered"` // chunks whose successful attempt was not the first
	TransformMS  int64  `json:"transform_ms"`
	LoadMS       int64  `json:"load_ms"`
}

// Add counts the result of a chunk that was loaded.
func (t *Totals) Add(r Result) {
	t.Chunks++
	t.RowsRead += r.RowsRead
	t.RowsLoaded += r.RowsLoaded
	t.RowsRejected += r.RowsRejected
	t.BytesRead += r.BytesRead
	t.BytesLoaded += r.BytesLoaded
	t.TransformMS += r.TransformMS
	t.LoadMS += r.LoadMS
	if r.Attempt > 1 {
		t.Redelivered++
	}
}

// Outcomes is the number of chunks that have ended in one way or another.
func (t Totals) Outcomes() uint64 { return t.Chunks + t.Dead + t.Retired }

// Proof is what ClickHouse answered when it was asked for the job's rows.
type Proof struct {
	// Kind is "provenance" when ClickHouse counted the job's rows by chunk in
	// the target, "ledger" when the target has no provenance columns and only
	// the ledger vouches for tokens: the weaker proof. Of several targets it is
	// the weakest.
	Kind string `json:"kind"`
	Rows uint64 `json:"rows"` // found in ClickHouse, in all targets
	// Rejected is the number of the job's rows found in quarantine.
	Rejected uint64       `json:"rejected"`
	Differ   []Difference `json:"differ,omitempty"` // at most 100 of a target
	Tables   []TableProof `json:"tables,omitempty"` // of several targets, what each has
	At       time.Time    `json:"at"`
}

// TableProof is a Proof's part of one of several targets.
type TableProof struct {
	Table string `json:"table"` // with its database
	Kind  string `json:"kind"`
	Rows  uint64 `json:"rows"`
}

// Difference is a chunk whose rows in ClickHouse, or in quarantine, are not
// those recorded.
type Difference struct {
	Target           int    `json:"target,omitempty"` // which, from 0
	Chunk            uint64 `json:"chunk"`
	Recorded         uint64 `json:"recorded"`
	Found            uint64 `json:"found"`
	RejectedRecorded uint64 `json:"rejected_recorded,omitempty"`
	RejectedFound    uint64 `json:"rejected_found,omitempty"`
}
