package local_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// rejected are the job's rows in quarantine.
func rejected(t *testing.T, id string) []clickhouse.RejectRow {
	t.Helper()
	var rows []clickhouse.RejectRow
	err := stack.ClickHouse.Rejects(t.Context(), clickhouse.RejectFilter{Job: id}, func(r clickhouse.RejectRow) error {
		rows = append(rows, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// Rows that do not fit go to quarantine, the others are loaded, and the counts
// add up; a job of their own loads them when they fit.
func TestRejects(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var csv strings.Builder
	bad := map[int]string{10: "ten,1", 500: "300,x", 501: "1", 502: "1,2,3", 777: ",5", 999: "123456789012345678901234567890,1"}
	for i := range 1000 {
		if line, ok := bad[i]; ok {
			csv.WriteString(line + "\n")
		} else {
			fmt.Fprintf(&csv, "%d,%d\n", i, 2*i)
		}
	}
	write(t, dir, "a.csv", csv.String())
	text := pipe("rejects", "path: a.csv, header: false", "columns: id UInt64, double UInt16\n  chunk: 1KiB") + "transform: SELECT * FROM chunk WHERE id % 2 = 0 OR id > 990\n"
	id := submit(t, dir, text)
	j := stack.Ended(t, id)
	if j.State != job.DoneWithRejects || j.Totals.RowsRejected != uint64(len(bad)) || j.Totals.RowsRead != 1000 || j.Totals.Dead != 0 {
		t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
	}
	if j.Proof == nil || j.Proof.Rejected != uint64(len(bad)) || len(j.Proof.Differ) > 0 {
		t.Errorf("the proof is %+v", j.Proof)
	}
	rows := rejected(t, id)
	seen := map[string]bool{}
	for _, r := range rows {
		seen[r.Raw] = true
		if at := strings.Index(csv.String(), "\n"+r.Raw+"\n") + 1; r.Offset != int64(at) {
			t.Errorf("%q is at %d, not %d", r.Raw, at, r.Offset)
		}
		if r.Reason == "" || !strings.Contains(r.Input, "a.csv") {
			t.Errorf("a reject is %+v", r)
		}
	}
	for _, line := range bad {
		if !seen[line] {
			t.Errorf("%q is not in quarantine", line)
		}
	}
	if len(rows) != len(bad) {
		t.Errorf("%d rows are in quarantine", len(rows))
	}
	want := stack.SQL(t, "SELECT count(), sum(number) FROM numbers(1000) WHERE (number % 2 = 0 OR number > 990) AND number NOT IN (10, 500, 502, 999)")
	if got := stack.SQL(t, "SELECT count(), sum(id) FROM rejects"); got != want {
		t.Errorf("the table has %q, want %q", got, want)
	}
}

// More rejects than the limit are a dead letter of the chunk, with the reason.
func TestTooManyRejects(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.csv", rows(50)+"x,1\ny,2\n"+rows(50))
	for limit, want := range map[string]job.State{"1": job.Failed, "2": job.DoneWithRejects, "0.9%": job.Failed, "1%": job.DoneWithRejects, "0": job.Failed} {
		table := "toomany_" + strings.ReplaceAll(strings.TrimSuffix(limit, "%"), ".", "_") + fmt.Sprint(strings.Contains(limit, "%"))
		id := submit(t, dir, pipe(table, "path: a.csv, header: false", idAndDouble)+"reject: {max: "+limit+"}\n")
		j := stack.Ended(t, id)
		if j.State != want {
			t.Errorf("limit %s: the job is %s: %s", limit, j.State, j.Error)
		}
		if n := len(rejected(t, id)); (want == job.Failed) != (n == 0) {
			t.Errorf("limit %s: %d rows are in quarantine", limit, n)
		}
	}
}

// What is rare and right is no reason to reject a row, whether the chunk has
// rows that are wrong or not.
func TestRareValues(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := `{"id":1,"n":5.0,"f":"inf"}` + "\n" + `{"id":2,"n":1e2,"f":1.5}` + "\n" + `{"id":3,"n":true,"f":2}` + "\n"
	write(t, dir, "good.json", good)
	write(t, dir, "bad.json", good+`{"id":4,"n":300,"f":1}`+"\n")
	for name, want := range map[string]job.State{"good": job.Done, "bad": job.DoneWithRejects} {
		id := submit(t, dir, pipe("rare_"+name, "path: "+name+".json", "columns: id UInt64, n UInt8, f Float64")+"reject: {max: 1}\n")
		if j := stack.Ended(t, id); j.State != want {
			t.Errorf("%s: the job is %s: %s", name, j.State, j.Error)
		}
		if got := stack.SQL(t, "SELECT count(), sum(n), countIf(isInfinite(f)) FROM rare_"+name); got != "3\t106\t1" {
			t.Errorf("%s: the table has %q", name, got)
		}
	}
}

// A SELECT need not name every field of a format that names them, and a field
// that is missing is found all the same.
func TestSelectOfSomeFields(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.json", `{"id":1,"n":5,"s":"x"}`+"\n"+`{"id":2,"n":6,"s":"y"}`+"\n"+`{"id":3,"n":7}`+"\n")
	write(t, dir, "a.jsonc", `{"meta":[{"name":"id","type":"UInt64"},{"name":"n","type":"UInt8"},{"name":"s","type":"String"}],"data":[[1,5,"x"],[2,6,"y"]]}`)
	write(t, dir, "a.tskv", "id=1\tn=5\ts=x\nid=2\tn=6\ts=y\n")
	for name, tt := range map[string]struct {
		files string
		state job.State
	}{
		"json":  {"path: a.json", job.DoneWithRejects},
		"jsonc": {"path: a.jsonc, format: JSONCompact", job.Done},
		"tskv":  {"path: a.tskv, format: TSKV", job.Done},
	} {
		for _, column := range []string{"id", "n", "s"} {
			table := "some_" + name + "_" + column
			id := submit(t, dir, pipe(table, tt.files, "columns: id UInt64, n UInt8, s String")+"transform: SELECT "+column+" FROM chunk\nreject: {max: 1}\n")
			if j := stack.Ended(t, id); j.State != tt.state {
				t.Errorf("%s: the job is %s: %s", table, j.State, j.Error)
			}
			if got := stack.SQL(t, "SELECT count() FROM "+table); got != "2" {
				t.Errorf("%s has %s rows", table, got)
			}
		}
	}
}

// A quote that is never closed swallows no records, in a stream that is unpacked
// here, for its byte order mark, and kept for a SELECT that reads it twice.
func TestOpenQuoteInKeptStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte("\xef\xbb\xbf1,a\n2,\"open\n3,c\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "a.csv.gz", packed.String())
	j := stack.Ended(t, submit(t, dir, pipe("kept_stream", "path: a.csv.gz, header: false", "columns: id UInt64, s String")+
		"transform: SELECT id, s FROM chunk WHERE id IN (SELECT id FROM chunk)\nreject: {max: 1}\n"))

	if got := stack.SQL(t, "SELECT groupArray((id, s)) FROM (SELECT * FROM kept_stream ORDER BY id)"); j.State != job.DoneWithRejects || got != "[(1,'a'),(3,'c')]" {
		t.Errorf("the job is %s, the table has %s: %s", j.State, got, j.Error)
	}
}
