package local_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drayage/coordinator"
	"drayage/pipelines/fixedwidth"
	"drayage/pipelines/stages"
	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/local"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/testkit/fleet"
)

// stack is a whole Drayage that all tests of this package share; each works in
// tables of its own.
var stack *fleet.Fleet

func TestMain(m *testing.M) {
	setup := fleet.Setup{
		Env: map[string]string{
			"DRAY_LEASE":           "8s",
			"DRAY_LOOKUP_ROWS":     "200000",
			"DRAY_LOOKUP_BYTES":    "16777216",
			"DRAY_MAX_BLOCK_BYTES": "1048576", // so that a chunk can be too big
		},
		Change: func(cfg *local.Config) {
			cfg.Extensions = local.Extensions{Stages: stages.All(), Sources: source.Registry{"fixedwidth": source.New(fixedwidth.New)}}
			maps.Copy(cfg.Extensions.Stages, testStages)
		},
	}
	fleet.Main(m, setup, func(f *fleet.Fleet) (func(), error) {
		stack = f
		return nil, nil
	})
}

// write makes a file in dir and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// submit creates a job of the pipeline text, whose paths start at dir.
func submit(t *testing.T, dir, text string) string {
	t.Helper()
	return stack.Create(t, job.Submission{Job: coordinator.NewID("test", time.Now()), Pipeline: text, File: "p.yaml", Dir: dir})
}

// rows makes CSV lines of n rows: an id and its double.
func rows(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d,%d\n", i, 2*i)
	}
	return b.String()
}

const idAndDouble = "columns: id UInt64, double UInt64"

// pipe writes a pipeline of files to a table that is created.
func pipe(table, files, more string) string {
	return fmt.Sprintf("pipeline: test\nsource:\n  files: {%s}\n  %s\nload:\n  table: %s\n  create: ENGINE = MergeTree ORDER BY tuple()\n", files, more, table)
}

func TestJobs(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.csv", rows(1000))
	write(t, dir, "b.csv", rows(500))
	write(t, dir, "empty.csv", "")
	write(t, dir, "large.csv", rows(400_000)) // more than a pipe holds
	write(t, dir, "header.csv", "id,double\n"+rows(300))
	write(t, dir, "swapped.csv", "double,id\n8,4\n")
	write(t, dir, "semicolon.csv", strings.ReplaceAll(rows(50), ",", ";"))
	write(t, dir, "rows.jsonl", `{"id":1,"double":2}`+"\n"+`{"double":4,"id":2}`+"\n")
	write(t, dir, "rows.json", `[{"id":1,"double":2},{"id":2,"double":4},`+"\n"+`{"id":3,"double":6}]`)
	write(t, dir, "rows.tsv", strings.ReplaceAll(rows(100), ",", "\t"))
	write(t, dir, "access.log", "GET /a 200\nGET /b 404\nPOST /c 500\n")
	for _, name := range []string{"rows.parquet", "rows.orc", "rows.arrow", "rows.avro", "rows.csv.gz", "rows.csv.zst", "rows.csv.xz", "rows.csv.lz4"} {
		_, err := stack.Engine.Client().Exec(t.Context(), engine.Statement{
			SQL: fmt.Sprintf("INSERT INTO FUNCTION file('%s') SELECT number::Int64 AS id, 2 * number::Int64 AS double FROM numbers(200)", filepath.Join(dir, name)),
		})
		if err != nil {
			t.Fatalf("making %s: %v", name, err)
		}
	}
	const wide = "columns: id Int64, double Int64"
	tests := []struct {
		name, files, more, transform string
		rows                         string // count and sum of id
	}{
		{name: "csv", files: "path: a.csv, header: false", more: idAndDouble, rows: "1000\t499500"},
		{name: "csv in ranges", files: "path: a.csv, header: false", more: idAndDouble + "\n  chunk: 1KiB", rows: "1000\t499500"},
		{name: "glob", files: `path: "[ab].csv", header: false`, more: idAndDouble, rows: "1500\t624250"},
		{name: "list", files: "path: [a.csv, b.csv, empty.csv], header: false", more: idAndDouble, rows: "1500\t624250"},
		{name: "header", files: "path: header.csv, header: true", more: idAndDouble, rows: "300\t44850"},
		{name: "header in another order", files: "path: [header.csv, swapped.csv], header: true", more: idAndDouble, rows: "301\t44854"},
		{name: "inferred", files: "path: header.csv", rows: "300\t44850"},
		{name: "separator", files: `path: semicolon.csv, header: false, delimiter: ";"`, more: idAndDouble, rows: "50\t1225"},
		{name: "jsonl", files: "path: rows.jsonl", more: idAndDouble, rows: "2\t3"},
		{name: "json array", files: "path: rows.json, format: JSONEachRow", rows: "3\t6"},
		{name: "tsv", files: "path: rows.tsv, header: false", more: idAndDouble, rows: "100\t4950"},
		{name: "parquet", files: "path: rows.parquet", rows: "200\t19900"},
		{name: "orc", files: "path: rows.orc", rows: "200\t19900"},
		{name: "arrow", files: "path: rows.arrow", rows: "200\t19900"},
		{name: "avro", files: "path: rows.avro", more: wide, rows: "200\t19900"},
		{name: "gzip", files: "path: rows.csv.gz, header: false", more: wide, rows: "200\t19900"},
		{name: "zstd", files: "path: rows.csv.zst, header: false", more: wide, rows: "200\t19900"},
		{name: "xz", files: "path: rows.csv.xz, header: false", more: wide, rows: "200\t19900"},
		{name: "lz4", files: "path: rows.csv.lz4, header: false", more: wide, rows: "200\t19900"},
		{name: "only empty", files: "path: empty.csv, header: false", more: idAndDouble, rows: "0\t0"},
		{name: "no row passes", files: "path: a.csv, header: false", more: idAndDouble, transform: "SELECT id FROM chunk WHERE id > 99999", rows: "0\t0"},
		{name: "regexp", files: `path: access.log, format: Regexp, regexp: '(\S+) (\S+) (\d+)'`, more: "columns: method String, path String, id UInt64", rows: "3\t1104"},
		{name: "lines", files: "path: access.log, format: LineAsString", transform: "SELECT toUInt64(splitByChar(' ', line)[3]) AS id FROM chunk", rows: "3\t1104"},
		{name: "input not read to its end", files: "path: large.csv, header: false", more: idAndDouble, transform: "SELECT id FROM chunk LIMIT 3", rows: "3\t3"},
		{name: "chunk read twice", files: "path: a.csv, header: false", more: idAndDouble,
			transform: "SELECT id FROM chunk WHERE id IN (SELECT max(double) / 2 FROM chunk)", rows: "1\t999"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table := fmt.Sprintf("jobs_%d", i)
			text := pipe(table, tt.files, tt.more)
			if tt.transform != "" {
				text += "transform: " + tt.transform + "\n"
			}
			j := stack.Ended(t, submit(t, dir, text))
			if j.State != job.Done {
				t.Fatalf("job is %s: %s", j.State, j.Error)
			}
			if got := stack.SQL(t, "SELECT count(), sum(id) FROM "+table); got != tt.rows {
				t.Errorf("table has %q rows and sum, want %q", got, tt.rows)
			}
			if j.Proof == nil || j.Proof.Rows != j.Totals.RowsLoaded || j.Proof.Kind != "provenance" {
				t.Errorf("proof is %+v for %d rows", j.Proof, j.Totals.RowsLoaded)
			}
			if got := stack.SQL(t, fmt.Sprintf("SELECT sum(rows_loaded) FROM drayage.ledger FINAL WHERE job = '%s'", j.ID)); got != fmt.Sprint(j.Totals.RowsLoaded) {
				t.Errorf("ledger has %s rows, job %d", got, j.Totals.RowsLoaded)
			}
			if queued, inFlight, err := stack.Queue.Backlog(t.Context(), j.ID); !errors.Is(err, queue.ErrNotFound) {
				t.Errorf("a finished job has a queue: %d queued, %d in flight, %v", queued, inFlight, err)
			}
		})
	}
}

// A job's mistakes end it with a message that names their place.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.csv", rows(10))
	write(t, dir, "header.csv", "id,twice\n1,2\n")
	stack.SQL(t, "CREATE TABLE mistakes_shape (id String, other UInt8) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000")
	stack.SQL(t, "CREATE TABLE mistakes_window (id UInt64, double UInt64) ENGINE = MergeTree ORDER BY id")
	stack.SQL(t, "CREATE TABLE mistakes_memory (id UInt64, double UInt64) ENGINE = Memory")
	const a = "path: a.csv, header: false"
	tests := []struct {
		name, text string
		expect     []string
	}{
		{"missing file", pipe("m", "path: nope.csv, header: false", idAndDouble), []string{"p.yaml:3:", "nope.csv"}},
		{"glob without a match", pipe("m", `path: "nope*.csv", header: false`, idAndDouble), []string{"p.yaml:3:", "nope*.csv"}},
		{"folder", pipe("m", `path: ".", format: CSV, header: false`, idAndDouble), []string{"p.yaml:3:"}},
		{"header", pipe("m", "path: header.csv, header: true", idAndDouble), []string{"header.csv", "twice", "double"}},
		{"format", pipe("m", "path: a.csv, format: CVS", idAndDouble), []string{"p.yaml:3:", "CVS", "CSV"}},
		{"syntax", pipe("m", a, idAndDouble) + "transform: |\n  SELECT id,\n    FORM chunk x\n", []string{"p.yaml:10:", "Syntax error"}},
		{"unknown column", pipe("m", a, idAndDouble) + "transform: |\n  SELECT id,\n    idd\n  FROM chunk\n", []string{"p.yaml:10:5", "idd"}},
		{"not a SELECT", pipe("m", a, idAndDouble) + "transform: DROP TABLE chunk\n", []string{"p.yaml:8:", "not a SELECT"}},
		{"not deterministic", pipe("m", a, idAndDouble) + "transform: |\n  SELECT id,\n    now() AS at FROM chunk\n", []string{"p.yaml:10:5", "now()", "${job_time}"}},
		{"unknown type", pipe("m", a, "columns: id UInt65, double UInt64"), []string{"UInt65"}},
		{"bad engine clause", "pipeline: test\nsource: {files: {" + a + "}, columns: 'id UInt64, double UInt64'}\nload: {table: m, create: ENGINE = MergTree ORDER BY id}\n", []string{"p.yaml:3:", "MergTree"}},
		{"no table and no create", "pipeline: test\nsource: {files: {" + a + "}, columns: 'id UInt64, double UInt64'}\nload: {table: absent}\n", []string{"p.yaml:3:15", "absent", "create"}},
		{"another shape", pipe("mistakes_shape", a, idAndDouble), []string{"p.yaml:6:", "double", "other"}},
		{"no deduplication", pipe("mistakes_window", a, idAndDouble), []string{"ALTER TABLE", "non_replicated_deduplication_window"}},
		{"engine without deduplication", pipe("mistakes_memory", a, idAndDouble), []string{"Memory"}},
		{"lookup is missing", pipe("m", a, idAndDouble) + "lookups: {l: {path: nope.csv}}\n", []string{"p.yaml:8:", "nope.csv"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			j := stack.Ended(t, submit(t, dir, tt.text))
			if j.State != job.Failed {
				t.Fatalf("job is %s", j.State)
			}
			for _, want := range tt.expect {
				if !strings.Contains(j.Error, want) {
					t.Errorf("error %q does not name %q", j.Error, want)
				}
			}
		})
	}
}

// Chunks that can not be loaded become dead letters; the rest of the job goes on.
func TestDeadLetters(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "1.csv", rows(100))
	write(t, dir, "2.csv", "1,2\nthis is not a number,4\n")
	write(t, dir, "3.csv", rows(100))
	j := stack.Ended(t, submit(t, dir, pipe("dead_letters", `path: "*.csv", header: false`, idAndDouble)+"reject: {max: 0}\n"))
	if j.State != job.DoneWithRejects || j.Totals.Dead != 1 || j.Totals.Chunks != 2 {
		t.Fatalf("job is %s with %d dead and %d loaded chunks: %s", j.State, j.Totals.Dead, j.Totals.Chunks, j.Error)
	}
	if got := stack.SQL(t, "SELECT count() FROM dead_letters"); got != "200" {
		t.Errorf("table has %s rows, want 200", got)
	}
	dead, err := stack.Queue.DeadLetters(t.Context(), j.ID, 10)
	if err != nil || len(dead) != 1 {
		t.Fatalf("dead letters: %v, %v", dead, err)
	}
	if d := dead[0]; d.Chunk.Ordinal != 1 || d.Reason != job.ReasonRejects || !strings.Contains(d.Error, "this is") {
		t.Errorf("dead letter is %+v", d)
	}
	j = stack.Ended(t, submit(t, dir, pipe("dead_letters_all", "path: 2.csv, header: false", idAndDouble)+"reject: {max: 0}\n"))
	if j.State != job.Failed || !strings.Contains(j.Error, "no chunk could be loaded") {
		t.Errorf("job is %s: %s", j.State, j.Error)
	}
}

// A chunk that one worker gave up and another loaded all the same counts once:
// the job waits for the chunks that have no outcome yet.
func TestDeadLetterOfALoadedChunk(t *testing.T) {
	dir := t.TempDir()
	for i := range 6 {
		write(t, dir, fmt.Sprintf("%d.csv", i), rows(100))
	}
	text := pipe("revived", `path: "*.csv", header: false`, idAndDouble)
	id := coordinator.NewID("revived", time.Now())
	for ordinal := range uint64(3) {
		d := job.Dead{Chunk: job.Chunk{Job: id, Ordinal: ordinal}, Reason: job.ReasonAttempts, Error: "its worker was thought lost", At: time.Now()}
		if err := stack.Queue.PublishDead(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	j := stack.Ended(t, stack.Create(t, job.Submission{Job: id, Pipeline: text, File: "p.yaml", Dir: dir}))
	if j.State != job.Done || j.Totals.Chunks != 6 || j.Totals.Dead != 0 {
		t.Errorf("job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	if got := stack.SQL(t, "SELECT count() FROM revived"); got != "600" {
		t.Errorf("table has %s rows, want 600", got)
	}
}

// What a pipeline sets can not cut a chunk into several blocks unnoticed: a
// retry that is cut in another way would load rows twice.
func TestOneBlock(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.csv", rows(5000))
	const small = "max_block_size = 100, min_insert_block_size_rows = 100, max_insert_block_size = 100, max_threads = 4"
	for i, text := range []string{
		pipe("one_block_0", "path: a.csv, header: false", idAndDouble) + "transform: SELECT id FROM chunk SETTINGS " + small + "\n",
		pipe("one_block_1", "path: a.csv, header: false", idAndDouble) + "transform: SELECT id FROM chunk UNION ALL SELECT double FROM chunk\n",
		pipe("one_block_2", "path: a.csv, header: false", idAndDouble) + "transform: SELECT id FROM chunk GROUP BY id SETTINGS " + small + "\n",
	} {
		j := stack.Ended(t, submit(t, dir, text))
		if j.State == job.Failed && (strings.Contains(j.Error, "more than one block") || strings.Contains(j.Error, "max_block_size is not the SELECT's to set")) {
			continue // noticed
		}
		if j.State != job.Done {
			t.Fatalf("%d: job is %s: %s", i, j.State, j.Error)
		}
		table := fmt.Sprintf("one_block_%d", i)
		if got := stack.SQL(t, "SELECT count() FROM system.parts WHERE table = '"+table+"' AND level = 0"); got != "1" {
			t.Errorf("%d: one chunk became %s parts", i, got)
		}
	}
}

// An input that changes under the job is not loaded.
func TestChangedInput(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.csv", rows(5000))
	doc, err := pipeline.Parse(pipe("changed_input", "path: a.csv, header: false", idAndDouble+"\n  chunk: 1KiB"), "p.yaml", dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	frozen, err := coordinator.Freezer{Engine: stack.Engine.Client(), ClickHouse: stack.ClickHouse, Create: true}.Freeze(t.Context(), doc, "changed-input", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	planned := 0
	for p, err := range frozen.Source.Plan(t.Context(), nil, frozen.Columns) {
		if err != nil {
			t.Fatal(err)
		}
		if planned++; planned == 1 {
			write(t, dir, "a.csv", rows(5001))
			if _, err := frozen.Source.Open(t.Context(), p.Input, frozen.Columns); job.ClassOf(err) != job.Permanent || !errors.Is(err, source.ErrChanged) || !strings.Contains(err.Error(), "a.csv") {
				t.Errorf("opening a changed file: %v", err)
			}
			break
		}
	}
}

// A table that may not be extended is loaded too, with the weaker proof.
func TestLedgerProof(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.csv", rows(100))
	stack.SQL(t, "CREATE TABLE ledger_proof (id UInt64, double UInt64) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000")
	j := stack.Ended(t, submit(t, dir, pipe("ledger_proof", "path: a.csv, header: false", idAndDouble)))
	if j.State != job.Done || j.Proof == nil || j.Proof.Kind != "ledger" || j.Proof.Rows != 100 {
		t.Fatalf("job is %s with proof %+v: %s", j.State, j.Proof, j.Error)
	}
	if got := stack.SQL(t, "SELECT count(), sum(double) FROM ledger_proof"); got != "100\t9900" {
		t.Errorf("table has %q", got)
	}
}

// A table whose engine merges rows can not be counted: it gets no provenance
// columns, and the ledger's proof.
func TestMergingTable(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.csv", rows(100))
	write(t, dir, "b.csv", rows(50))
	text := strings.Replace(pipe("merging", `path: "[ab].csv", header: false`, idAndDouble), "MergeTree ORDER BY tuple()", "SummingMergeTree ORDER BY id", 1)
	j := stack.Ended(t, submit(t, dir, text))
	if j.State != job.Done || j.Proof == nil || j.Proof.Kind != "ledger" || j.Proof.Rows != 150 {
		t.Fatalf("job is %s with proof %+v: %s", j.State, j.Proof, j.Error)
	}
	// The row of zeros is summed away, as SummingMergeTree does.
	if got := stack.SQL(t, "SELECT count(), sum(double) FROM merging FINAL"); got != "99\t12350" {
		t.Errorf("table has %q", got)
	}
}

// Rows that ClickHouse lost or doubled are found before the job is DONE.
func TestVerificationFindsDifferences(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.csv", rows(100))
	j := stack.Ended(t, submit(t, dir, pipe("tampered", "path: a.csv, header: false", idAndDouble)))
	if j.State != job.Done {
		t.Fatalf("job is %s: %s", j.State, j.Error)
	}
	stack.SQL(t, "ALTER TABLE tampered DELETE WHERE id = 7 SETTINGS mutations_sync = 1")
	proof, err := stack.ClickHouse.Verify(t.Context(), clickhouse.Table{Database: j.Frozen.Database, Name: j.Frozen.Table}, j.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(proof.Differ) != 1 || proof.Differ[0] != (job.Difference{Chunk: 0, Recorded: 100, Found: 99}) {
		t.Errorf("differences are %+v", proof.Differ)
	}
}

// A submission that is delivered twice is one job.
func TestSubmitTwice(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.csv", rows(10))
	s := job.Submission{Job: "submitted-twice", Pipeline: pipe("submitted_twice", "path: a.csv, header: false", idAndDouble), Dir: dir}
	for range 2 {
		if err := stack.Queue.Submit(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if j := stack.Ended(t, s.Job); j.State != job.Done {
		t.Fatalf("job is %s: %s", j.State, j.Error)
	}
	if err := stack.Queue.Submit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	// A later submission is taken in after it, so it was decided by then.
	if j := stack.Ended(t, submitted(t, dir)); j.State != job.Done {
		t.Fatalf("job is %s: %s", j.State, j.Error)
	}
	if got := stack.SQL(t, "SELECT count() FROM submitted_twice"); got != "10" {
		t.Errorf("table has %s rows, want 10", got)
	}
	if j := stack.Ended(t, s.Job); j.State != job.Done {
		t.Errorf("job is %s: %s", j.State, j.Error)
	}
}

func submitted(t *testing.T, dir string) string {
	t.Helper()
	s := job.Submission{Job: coordinator.NewID("later", time.Now()), Pipeline: pipe("submitted_later", "path: a.csv, header: false", idAndDouble), Dir: dir}
	if err := stack.Queue.Submit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return s.Job
}

// The rows that a lookup adds to a join are not counted as read.
func TestLookups(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.csv", rows(50))
	write(t, dir, "names.csv", "id,name\n1,one\n2,two\n")
	text := pipe("lookups", "path: a.csv, header: false", idAndDouble) +
		"lookups: {names: {path: names.csv, columns: 'id UInt64, name String'}}\ntransform: SELECT id, names.name AS name FROM chunk LEFT JOIN names ON names.id = chunk.id\n"
	j := stack.Ended(t, submit(t, dir, text))
	if j.State != job.Done {
		t.Fatalf("job is %s: %s", j.State, j.Error)
	}
	if j.Totals.RowsRead != 50 || j.Totals.RowsLoaded != 50 {
		t.Errorf("read %d, loaded %d rows; want 50 and 50", j.Totals.RowsRead, j.Totals.RowsLoaded)
	}
	if got := stack.SQL(t, "SELECT groupArray(name) FROM (SELECT name FROM lookups WHERE name != '' ORDER BY id)"); got != "['one','two']" {
		t.Errorf("names are %s", got)
	}
}

// Who is asked to end before it has begun has not failed.
func TestStoppedAtItsStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := stack.Run(ctx, ""); err != nil {
		t.Error(err)
	}
}
