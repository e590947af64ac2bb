package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// misfits writes a file of 600 lines, five of which do not fit, with a pipeline
// that puts these into quarantine and one that can read them.
func misfits(t *testing.T, dir, table string) (strict, mended string, raw []string) {
	t.Helper()
	lines := make([]string, 600)
	for i := range lines {
		lines[i] = fmt.Sprintf("%d,%d,ok", i, i%100)
	}
	raw = []string{"oops,1,one", `300,300,"big, ""it"" is"`, "301,-1,x\x1b[31my", "550,7", "no,no,twice"}
	for i, at := range []int{100, 300, 301, 550, 599} {
		lines[at] = raw[i]
	}
	write := func(name, text string) string { return writeFile(t, filepath.Join(dir, name), text) }
	write(table+".csv", strings.Join(lines, "\n")+"\n")
	text := `pipeline: ` + table + `
source:
  files: {path: ` + table + `.csv, header: false}
  columns: id %s, small %s, word String
  chunk: 4096
transform: SELECT %s AS id, %s AS small, word FROM chunk
load:
  table: ` + table + `
  create: ENGINE = MergeTree PARTITION BY small %% 2 ORDER BY id
reject: {max: 50%%}
`
	return write(table+".yaml", fmt.Sprintf(text, "UInt64", "UInt8", "id", "small")),
		write(table+"-mended.yaml", fmt.Sprintf(text, "String", "String", "toUInt64OrZero(id)", "toUInt8(least(255, abs(toInt32OrZero(small))))")), raw
}

// reject is a line of rejects --json.
type reject struct {
	Chunk, Record uint64
	Offset        int64
	Raw           string
	Column        string
	Reason        string
	Input         string
}

func rejects(t *testing.T, env []string, args ...string) (list []reject) {
	t.Helper()
	out := expect(t, env, append([]string{"rejects", "--json"}, args...), 0)
	for line := range strings.Lines(out) {
		var r reject
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		list = append(list, r)
	}
	return list
}

// Rows that do not fit are shown with their place and reason, and given back as
// they were; what quarantine loses is found and mended; undo empties it.
func TestRejects(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	strict, _, raw := misfits(t, f.dir, "misfits")
	start(t, f.env, "coordinator")
	start(t, f.env, "worker", "--slots", "1")
	const id = "misfits-1"
	expect(t, f.env, []string{"submit", strict, "--wait", "--key", "1"}, 4, "done with rejects", "5: dray rejects misfits-1")
	expect(t, f.env, []string{"show", id}, 0, "5: dray rejects misfits-1")

	text, err := os.ReadFile(filepath.Join(f.dir, "misfits.csv"))
	if err != nil {
		t.Fatal(err)
	}
	all := rejects(t, f.env, id)
	seen := map[string]bool{}
	for _, r := range all {
		seen[r.Raw] = true
		if !strings.HasPrefix(string(text[r.Offset:]), r.Raw+"\n") || !strings.HasPrefix(r.Input, "misfits.csv bytes ") || r.Reason == "" {
			t.Errorf("a reject is %+v", r)
		}
	}
	for _, line := range raw {
		if !seen[line] {
			t.Errorf("%q is not in quarantine", line)
		}
	}
	out := expect(t, f.env, []string{"rejects", id}, 0, "CHUNK", "misfits.csv bytes ", "oops,1,one", "small")
	if strings.Contains(out, "\x1b") {
		t.Error("what stood in the input can steer the terminal")
	}
	expect(t, f.env, []string{"rejects", id, "-n", "2"}, 0, "and more")
	if some := rejects(t, f.env, id, "-n", "2"); len(some) != 2 {
		t.Errorf("-n 2 gives %+v", some)
	}
	if some := rejects(t, f.env, id, "--column", "small", "--reason", "-1"); len(some) != 1 || some[0].Raw != raw[2] {
		t.Errorf("--column and --reason choose %+v", some)
	}
	if some := rejects(t, f.env, id, "--chunk", "0"); len(some) == 0 || len(some) == len(all) || some[0].Raw != raw[0] {
		t.Errorf("--chunk chooses %+v", some)
	}
	expect(t, f.env, []string{"rejects", id, "--chunk", "4000"}, 0, "is like that")
	expect(t, f.env, []string{"rejects", id, "--group"}, 0, "ROWS", "id", "chunk 0 record 101")
	if out := expect(t, f.env, []string{"rejects", id, "--raw"}, 0); out != strings.Join(raw, "\n")+"\n" {
		t.Errorf("--raw gives %q", out)
	}
	expect(t, f.env, []string{"rejects", id, "--raw", "--group"}, 2, "--raw writes records")
	expect(t, f.env, []string{"rejects", id, "--group", "--chunk", "1"}, 2, "--group counts all")

	f.sql(t, fmt.Sprintf("ALTER TABLE drayage.rejects DELETE WHERE chunk = %d SETTINGS mutations_sync = 2", all[0].Chunk))
	expect(t, f.env, []string{"verify", id}, 1, "3 rejected rows recorded, 0 found in quarantine")
	expect(t, f.env, []string{"verify", id, "--repair"}, 0, "agrees")
	f.answers(t, "SELECT count(), uniqExact(id) FROM misfits", "595\t595")
	if n := len(rejects(t, f.env, id)) + len(rejects(t, f.env, "misfits-1-chunks1")); n != len(all) {
		t.Errorf("%d rows are in quarantine after the repair, %d before it", n, len(all))
	}
	expect(t, f.env, []string{"undo", id, "--yes"}, 0, "rows removed")
	expect(t, f.env, []string{"undo", "misfits-1-chunks1", "--yes"}, 0, "rows removed")
	expect(t, f.env, []string{"rejects", id}, 0, "it was undone")
	f.answers(t, "SELECT (SELECT count() FROM misfits), (SELECT count() FROM drayage.rejects)", "0\t0")
}

// Rejected rows are loaded again once, with a mended pipeline.
func TestRetryRejects(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	strict, mended, _ := misfits(t, f.dir, "again")
	start(t, f.env, "coordinator")
	start(t, f.env, "worker", "--slots", "1")
	expect(t, f.env, []string{"submit", strict, "--wait", "--key", "1"}, 4)
	out := expect(t, f.env, []string{"retry", "again-1", "--rejects", "--pipeline", mended, "--json"}, 0)
	if !strings.Contains(out, `"job": "again-1-rejects1"`) || !strings.Contains(out, `"what": "rejects"`) {
		t.Errorf("retry printed %s", out)
	}
	eventually(t, "the rejects are done with", func() bool {
		j, _, err := f.queue.Job(t.Context(), "again-1-rejects1")
		return err == nil && j.State.Terminal()
	})
	// A record of two fields where three are expected can not be mended by SQL.
	expect(t, f.env, []string{"show", "again-1-rejects1"}, 0, "DONE_WITH_REJECTS", "the rejected rows of", "again-1")
	f.answers(t, "SELECT count(), uniqExact(_job), countIf(_job = 'again-1-rejects1'), countIf(word = 'big, \"it\" is') FROM again", "599\t2\t4\t1")
	if left := rejects(t, f.env, "again-1-rejects1"); len(left) != 1 || left[0].Raw != "550,7" {
		t.Errorf("left in quarantine is %+v", left)
	}
	expect(t, f.env, []string{"retry", "again-1", "--rejects"}, 0, "nothing to do")
	expect(t, f.env, []string{"verify", "again-1"}, 0, "agrees")
	expect(t, f.env, []string{"verify", "again-1-rejects1"}, 0, "agrees")
	// And once more, those of the rejects that were rejected again: the text has
	// to be mended with the pipeline.
	text, err := os.ReadFile(mended)
	if err != nil {
		t.Fatal(err)
	}
	two := strings.NewReplacer("columns: id String, small String, word String", "columns: id UInt64, small UInt8",
		"toUInt64OrZero(id) AS id", "id", "toUInt8(least(255, abs(toInt32OrZero(small)))) AS small, word", "small, 'two' AS word").Replace(string(text))
	writeFile(t, mended, two)
	expect(t, f.env, []string{"retry", "again-1-rejects1", "--rejects", "--pipeline", mended, "--wait"}, 0, "done")
	f.answers(t, "SELECT count(), uniqExact(id), countIf(word = 'two' AND id = 550) FROM again", "600\t598\t1")
	expect(t, f.env, []string{"verify", "again-1", "--source"}, 0, "agrees", "0 differ")
	writeFile(t, filepath.Join(f.dir, "again.csv"), "1,1,other\n")
	expect(t, f.env, []string{"verify", "again-1", "--source"}, 1, "differs", "changed")
}
