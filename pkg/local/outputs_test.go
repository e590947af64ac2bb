package local_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"drayage/coordinator"
	"drayage/pkg/job"
)

// One read, several tables: rows, an aggregate that merges further, and those
// that a lookup knows.
func TestOutputs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "%d,%d\n", i, i%7)
	}
	// Two rows that no output can have: one of a value, one for which only the
	// third SELECT fails.
	b.WriteString("x,1\n4000,77\n")
	write(t, dir, "a.csv", b.String())
	write(t, dir, "kinds.csv", "kind,name\n1,one\n2,two\n")
	text := `pipeline: fan
source:
  files: {path: a.csv, header: false}
  columns: id UInt64, kind UInt8
  chunk: 4KiB
lookups: {kinds: {path: kinds.csv, columns: 'kind UInt8, name String'}}
outputs:
  - load: {table: fan_rows, order_by: id}
  - transform: SELECT kind, sumState(id) AS total, countState() AS n FROM chunk GROUP BY kind
    load: {table: fan_sums, engine: AggregatingMergeTree, order_by: kind}
  - transform: SELECT id, k.name AS name, throwIf(chunk.kind = 77) AS never FROM chunk JOIN kinds AS k ON k.kind = chunk.kind OR chunk.kind = 77
    load: {table: fan_named, order_by: id, mode: replace}
`
	j := stack.Ended(t, submit(t, dir, text))
	if j.State != job.DoneWithRejects || j.Totals.RowsRejected != 2 || j.Totals.RowsRead != 3002 {
		t.Fatalf("the job is %s: %s: %+v", j.State, j.Error, j.Totals)
	}
	if got := stack.SQL(t, "SELECT count(), uniqExact(id), max(id) FROM fan_rows"); got != "3000\t3000\t2999" {
		t.Errorf("fan_rows has %q", got)
	}
	if got, want := stack.SQL(t, "SELECT kind, sumMerge(total), countMerge(n) FROM fan_sums GROUP BY kind ORDER BY kind"),
		stack.SQL(t, "SELECT number % 7 AS k, sum(number), count() FROM numbers(3000) GROUP BY k ORDER BY k"); got != want {
		t.Errorf("fan_sums has %q, want %q", got, want)
	}
	if got := stack.SQL(t, "SELECT name, count() FROM fan_named GROUP BY name ORDER BY name"); got != "one\t429\ntwo\t429" {
		t.Errorf("fan_named has %q", got)
	}
	sums := j.Totals.RowsLoaded - 3000 - 858
	if p := j.Proof; p == nil || p.Kind != "ledger" || p.Rows != j.Totals.RowsLoaded || len(p.Tables) != 3 ||
		p.Tables[0] != (job.TableProof{Table: "default.fan_rows", Kind: "provenance", Rows: 3000}) ||
		p.Tables[1] != (job.TableProof{Table: "default.fan_sums", Kind: "ledger", Rows: sums}) || p.Tables[2].Rows != 858 {
		t.Errorf("the proof is %+v", j.Proof)
	}
	if got := stack.SQL(t, "SELECT table, sum(rows_loaded), sum(rows_read), sum(rows_rejected) FROM drayage.ledger WHERE job = '"+j.ID+"' AND outcome = 'loaded' GROUP BY table ORDER BY sum(rows_read) DESC, table"); !strings.HasPrefix(got, "fan_rows\t3000\t3002\t2\n") {
		t.Errorf("the ledger has %q", got)
	}
	if _, err := coordinator.Undo(t.Context(), stack.Queue, stack.ClickHouse, j.ID); err == nil {
		t.Error("a job that merged rows away was undone")
	}
}

// What is too big for one block of all outputs together is loaded in several.
func TestOutputsOfSeveralBlocks(t *testing.T) {
	t.Parallel()
	text := `pipeline: fat
source: {generate: {rows: 40, select: number}, rows: 40}
outputs:
  - transform: SELECT number AS id, arrayJoin(range(50)) AS part, repeat('x', 20000) AS pad FROM chunk
    load: {table: fat_rows, order_by: id}
  - transform: SELECT number AS id, repeat('y', 10) AS pad FROM chunk
    load: {table: fat_ids, order_by: id}
  - transform: SELECT * FROM chunk WHERE number > 100
    load: {table: fat_none, order_by: number}
`
	j := done(t, text)
	if got := stack.SQL(t, "SELECT count(), uniqExact(id, part), min(length(pad)) FROM fat_rows"); got != "2000\t2000\t20000" {
		t.Errorf("fat_rows has %q", got)
	}
	if got := stack.SQL(t, "SELECT count(), uniqExact(id) FROM fat_ids"); got != "40\t40" {
		t.Errorf("fat_ids has %q", got)
	}
	if j.Totals.RowsLoaded != 2040 || j.Totals.RowsRead != 40 || j.Proof.Kind != "provenance" {
		t.Errorf("the totals are %+v, the proof %+v", j.Totals, j.Proof)
	}
	rows, err := coordinator.Undo(t.Context(), stack.Queue, stack.ClickHouse, j.ID)
	if err != nil || rows != 2040 {
		t.Errorf("undo removed %d rows: %v", rows, err)
	}
	if got := stack.SQL(t, "SELECT (SELECT count() FROM fat_rows) + (SELECT count() FROM fat_ids)"); got != "0" {
		t.Errorf("%s rows are left", got)
	}
}

func TestMistakesOfOutputs(t *testing.T) {
	t.Parallel()
	head := "pipeline: mistaken\nsource: {generate: {rows: 1, select: number}}\n"
	for name, tt := range map[string]struct{ text, want string }{
		"both":      {"transform: SELECT 1\noutputs: [{load: {table: a, order_by: number}}]\n", "transform: there are outputs too"},
		"load":      {"load: {table: x}\noutputs: [{load: {table: a, order_by: number}}]\n", "load: there are outputs too"},
		"the same":  {"outputs: [{load: {table: same, order_by: number}}, {load: {table: default.same, order_by: number}}]\n", "outputs[1].load.table: two outputs go to the table default.same"},
		"no table":  {"outputs: [{load: {table: a, order_by: number}}, {load: {order_by: number}}]\n", "outputs[1].load: table is missing"},
		"sql":       {"outputs:\n- load: {table: a, order_by: number}\n- transform: SELECT nowhere FROM chunk\n  load: {table: b, order_by: number}\n", "p.yaml:5:21: outputs[1].transform"},
		"no create": {"outputs: [{load: {table: nowhere_to_be_found}}]\n", "outputs[0].load.table: the table default.nowhere_to_be_found does not exist"},
	} {
		id := coordinator.NewID("test", time.Now())
		err := coordinator.Create(t.Context(), stack.Queue, job.Submission{Job: id + "-" + strings.ReplaceAll(name, " ", "_"), Pipeline: head + tt.text, File: "p.yaml", Dir: t.TempDir()})
		problem := ""
		if err != nil {
			problem = err.Error()
		} else {
			problem = stack.Ended(t, id+"-"+strings.ReplaceAll(name, " ", "_")).Error
		}
		if !strings.Contains(problem, tt.want) {
			t.Errorf("%s: %s, want %s", name, problem, tt.want)
		}
	}
}
