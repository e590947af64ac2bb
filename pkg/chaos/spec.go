package chaos

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"drayage/pkg/job"
)

// idsPerJob is the room for the ids of a job's rows: job n has those from
// n*idsPerJob on, so that tables can be shared.
const idsPerJob = 10_000_000

// database is the one that the targets are in.
const database = "chaos"

// A format is how the rows of a job lie on the disk.
type format string

const (
	plainCSV format = "csv"
	namedCSV format = "csv with a header"
	lineJSON format = "json lines"
	gzipCSV  format = "csv.gz, a chunk a file"
)

// spec is a job as the oracle knows it: what its rows are, and which of them
// are to be found where.
type spec struct {
	n      int
	id     string // of the job
	table  string
	format format
	rows   int
	bad    float64
	view   bool // a materialized view hangs on the table
	fan    bool // a second output adds up the groups of each chunk, with a lookup
	shards int  // of the target; 0: it is on one server
	cancel bool
	flight int // limits.in_flight
	chunk  int // bytes
	files  int
	dir    string
	seed   uint64
}

// newSpec makes the n-th job of a seed.
func newSpec(cfg Config, n int, cancellable bool) spec {
	r := rand.New(rand.NewPCG(cfg.Seed, uint64(n)<<1|1)) //nolint:gosec // repeatable on purpose
	s := spec{
		n: n, id: fmt.Sprintf("chaos-%03d", n), table: fmt.Sprintf("target_%03d", n),
		format: []format{plainCSV, lineJSON, namedCSV, gzipCSV}[n%4],
		rows:   cfg.Chunks*cfg.RowsPerChunk*3/4 + r.IntN(cfg.Chunks*cfg.RowsPerChunk/2+1),
		flight: 4 + r.IntN(5), files: 1 + r.IntN(3),
		dir: filepath.Join(cfg.Dir, "input"), seed: r.Uint64(),
	}
	s.rows = min(s.rows, idsPerJob)
	if n%3 == 2 {
		s.bad = cfg.Bad
	}
	switch {
	case n%5 == 1:
		s.table, s.view = "target_view", true // several jobs feed one view
	case n%5 == 4:
		s.table = fmt.Sprintf("target_%03d", n-1) // two jobs, one table
	case n%5 == 0:
		s.fan = true
	case n%5 == 2:
		s.shards = cfg.Shards
	}
	if cancellable && !s.view && r.Float64() < cfg.Cancel {
		s.cancel = true
	}
	const bytesPerRow = 34
	s.chunk = max(1024, cfg.RowsPerChunk*bytesPerRow)
	if s.format == lineJSON {
		s.chunk = max(1024, cfg.RowsPerChunk*(bytesPerRow+38))
	}
	if s.format == gzipCSV {
		s.files = cfg.Chunks
	}
	return s
}

func (s spec) first() uint64 { return uint64(s.n) * idsPerJob } //nolint:gosec // small

// groups is how many there are.
const groups = 97

// A row of the sources, and of the target.
type row struct {
	ID     uint64
	Grp    uint8
	Amount int64
	Note   string
}

func rowOf(id uint64) row {
	note := "row " + strconv.FormatUint(id, 36)
	switch id % 50 {
	case 7:
		note = "a \"quoted\", and\na broken line" // a border that is none
	case 13:
		note = ""
	}
	return row{ID: id, Grp: uint8(id % groups), Amount: int64(id*2654435761%2_000_003) - 1_000_000, Note: note} //nolint:gosec // within bounds
}

// filtered is true of the rows that the pipeline leaves out.
func filtered(id uint64) bool { return id%10 == 3 }

// isBad is true of the rows with a value that does not fit.
func (s spec) isBad(id uint64) bool {
	if s.bad == 0 {
		return false
	}
	h := (id ^ s.seed) * 0x9E3779B97F4A7C15
	return float64(h>>11)/(1<<53) < s.bad
}

// texts are the values of a row as they stand in the source.
func (s spec) texts(id uint64) (grp, amount, note string) {
	r := rowOf(id)
	grp, amount, note = strconv.Itoa(int(r.Grp)), strconv.FormatInt(r.Amount, 10), r.Note
	if s.isBad(id) {
		if id%2 == 0 {
			grp = "300" // does not fit UInt8
		} else {
			amount = "many" // is no number
		}
	}
	return grp, amount, note
}

func (s spec) path(file int) string {
	ext := map[format]string{plainCSV: "csv", namedCSV: "csv", lineJSON: "jsonl", gzipCSV: "csv.gz"}[s.format]
	return filepath.Join(s.dir, fmt.Sprintf("%s-%03d.%s", s.id, file, ext))
}

// write makes the files of the job.
func (s spec) write() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	per := (s.rows + s.files - 1) / s.files
	for file := range s.files {
		if err := s.writeFile(s.path(file), min(file*per, s.rows), min((file+1)*per, s.rows)); err != nil {
			return fmt.Errorf("writing the rows of %s: %w", s.id, err)
		}
	}
	if !s.fan {
		return nil
	}
	var labels strings.Builder
	labels.WriteString("grp,label\n")
	for grp := range groups {
		fmt.Fprintf(&labels, "%d,%s\n", grp, labelOf(uint8(grp))) //nolint:gosec // below 97
	}
	return os.WriteFile(filepath.Join(s.dir, s.labels()), []byte(labels.String()), 0o600)
}

// labels is the file of the job's lookup.
func (s spec) labels() string { return "labels-" + s.id + ".csv" }

// sumsTable is the table of the second output.
func (s spec) sumsTable() string { return s.table + "_sums" }

func labelOf(grp uint8) string { return fmt.Sprintf("group %d", grp) }

func (s spec) writeFile(path string, from, to int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var w io.Writer = f
	finish := func() error { return nil }
	if s.format == gzipCSV {
		zw := gzip.NewWriter(f)
		w, finish = zw, zw.Close
	}
	b := bufio.NewWriter(w)
	if s.format == namedCSV {
		fmt.Fprintln(b, "id,grp,amount,note")
	}
	for i := from; i < to; i++ {
		id := s.first() + uint64(i) //nolint:gosec // small
		grp, amount, note := s.texts(id)
		if s.format == lineJSON {
			text, err := json.Marshal(note)
			if err != nil {
				return err
			}
			if amount == "many" {
				amount = `"many"`
			}
			fmt.Fprintf(b, `{"id":%d,"grp":%s,"amount":%s,"note":%s}`+"\n", id, grp, amount, text)
			continue
		}
		fmt.Fprintf(b, "%d,%s,%s,\"%s\"\n", id, grp, amount, strings.ReplaceAll(note, `"`, `""`))
	}
	if err := b.Flush(); err != nil {
		return err
	}
	if err := finish(); err != nil {
		return err
	}
	return f.Close()
}

// submission is the job as it is given to the fleet.
func (s spec) submission() job.Submission {
	header, kind := "", "CSV"
	switch s.format {
	case plainCSV, gzipCSV:
		header = ", header: false"
	case namedCSV:
		header = ", header: true"
	case lineJSON:
		kind = "JSONEachRow"
	}
	text := fmt.Sprintf(`pipeline: chaos
source:
  files: {path: "%s-*", format: %s%s}
  columns: id UInt64, grp UInt8, amount Int64, note String
  chunk: %d
%sretry: {attempts: 100, backoff: 100ms..2s}
limits: {in_flight: %d}
`, s.id, kind, header, s.chunk, s.outputs(), s.flight)
	if s.bad > 0 {
		text += "reject: {max: 100%}\n"
	}
	return job.Submission{Job: s.id, Pipeline: text, File: s.id + ".yaml", Dir: s.dir}
}

// outputs are those of the pipeline.
func (s spec) outputs() string {
	if !s.fan {
		return fmt.Sprintf(`transform: SELECT id, grp, amount * 2 AS doubled, note FROM chunk WHERE id %% 10 != 3
load:
  table: %s
  create: ENGINE = MergeTree PARTITION BY id %% 4 ORDER BY id
  sharded: %t
`, s.table, s.shards > 0)
	}
	return fmt.Sprintf(`lookups: {labels: {path: %s, columns: 'grp UInt8, label String'}}
outputs:
- transform: SELECT id, grp, amount * 2 AS doubled, note FROM chunk WHERE id %% 10 != 3
  load: {table: %s, create: ENGINE = MergeTree PARTITION BY id %% 4 ORDER BY id}
- transform: |
    SELECT grp, l.label AS label, count() AS n, sum(amount * 2) AS total
    FROM chunk LEFT JOIN labels AS l ON l.grp = chunk.grp WHERE id %% 10 != 3 GROUP BY grp, label
  load: {table: %s, create: ENGINE = MergeTree ORDER BY grp}
`, s.labels(), s.table, s.sumsTable())
}

const createDatabase = "CREATE DATABASE IF NOT EXISTS " + database + " ENGINE = Atomic"

// setup are the statements that make what jobs can not make themselves.
func setup() []string {
	return []string{
		"CREATE TABLE " + database + `.target_view (id UInt64, grp UInt8, doubled Int64, note String, _job LowCardinality(String), _chunk UInt32)
ENGINE = MergeTree PARTITION BY id % 4 ORDER BY id SETTINGS non_replicated_deduplication_window = 10000`,
		"CREATE TABLE " + database + `.sums (job UInt64, grp UInt8, n UInt64, total Int64)
ENGINE = SummingMergeTree ORDER BY (job, grp) SETTINGS non_replicated_deduplication_window = 10000`,
		"CREATE MATERIALIZED VIEW " + database + ".view TO " + database + `.sums AS
SELECT intDiv(id, ` + strconv.Itoa(idsPerJob) + `) AS job, grp, count() AS n, sum(doubled) AS total FROM ` + database + ".target_view GROUP BY job, grp",
	}
}

// idsIn reads which of the job's rows a chunk names: what a dead letter took
// with it. It knows how the files source writes a chunk's input: the path, and
// the borders in bytes where a file was cut.
func (s spec) idsIn(input json.RawMessage) ([]uint64, error) {
	var piece struct {
		Path  string `json:"p"`
		Size  int64  `json:"s"`
		Start int64  `json:"a"`
		End   int64  `json:"z"`
	}
	if err := json.Unmarshal(input, &piece); err != nil {
		return nil, fmt.Errorf("reading what chunk of %s is dead: %w", s.id, err)
	}
	f, err := os.Open(piece.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if s.format == gzipCSV {
		zr, err := gzip.NewReader(f)
		if err != nil {
			return nil, err
		}
		return csvIDs(zr)
	}
	if piece.End == 0 {
		piece.End = piece.Size
	}
	part := io.NewSectionReader(f, piece.Start, piece.End-piece.Start)
	if s.format != lineJSON {
		return csvIDs(part)
	}
	var ids []uint64
	for dec := json.NewDecoder(part); ; {
		var r struct {
			ID uint64 `json:"id"`
		}
		switch err := dec.Decode(&r); err { //nolint:errorlint // io.Reader's contract is the value itself
		case nil:
			ids = append(ids, r.ID)
		case io.EOF:
			return ids, nil
		default:
			return nil, err
		}
	}
}

func csvIDs(r io.Reader) ([]uint64, error) {
	var ids []uint64
	for records := csv.NewReader(r); ; {
		record, err := records.Read()
		if err == io.EOF { //nolint:errorlint // io.Reader's contract is the value itself
			return ids, nil
		}
		if err != nil {
			return nil, err
		}
		id, err := strconv.ParseUint(record[0], 10, 64)
		if err != nil {
			if record[0] == "id" {
				continue // the header
			}
			return nil, err
		}
		ids = append(ids, id)
	}
}
