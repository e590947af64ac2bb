package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// letters writes a pipeline over one good and three bad files, which become
// dead letters, and one that can read them.
func letters(t *testing.T, dir, table string) (bad, mended string) {
	t.Helper()
	write := func(name, text string) string { return writeFile(t, filepath.Join(dir, name), text) }
	write(table+"-a.csv", "1,1\n2,4\n")
	for i, name := range []string{"b", "c", "d"} {
		write(table+"-"+name+".csv", fmt.Sprintf("x%d,9\n", i))
	}
	text := `pipeline: ` + table + `
params: {low: 0}
source:
  files: {path: '` + table + `-*.csv', header: false}
  columns: id %s, square UInt64
transform: SELECT %s AS id, square FROM chunk WHERE square > ${low}
load:
  table: ` + table + `
  create: ENGINE = MergeTree ORDER BY id
reject: {max: 0}
`
	bad = write(table+".yaml", fmt.Sprintf(text, "UInt64", "id"))
	mended = write(table+"-mended.yaml", fmt.Sprintf(text, "String", "toUInt64(extract(id, '[0-9]+'))"))
	return bad, mended
}

// shownLetter is a line of dead list --json.
type shownLetter struct {
	Chunk struct {
		Ordinal uint64 `json:"chunk"`
	} `json:"chunk"`
	Reason      string `json:"reason"`
	Error       string `json:"error"`
	Place       string `json:"place"`
	TakenOverBy string `json:"taken_over_by"`
}

func deadLetters(t *testing.T, env []string, args ...string) (list []shownLetter) {
	t.Helper()
	out := expect(t, env, append([]string{"dead", "list", "--json"}, args...), 0)
	for line := range strings.Lines(out) {
		var l shownLetter
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		list = append(list, l)
	}
	return list
}

// Dead letters are listed, replayed with a mended pipeline, once, and dropped.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	bad, mended := letters(t, f.dir, "letters")
	expect(t, f.env, []string{"dead", "list"}, 3, "start dray coordinator")
	start(t, f.env, "coordinator")
	start(t, f.env, "worker", "--slots", "1")
	expect(t, f.env, []string{"submit", bad, "--wait", "--key", "1"}, 4, "done with rejects", "3 of 4 chunks", "dray dead list letters-1")
	const id = "letters-1"

	all := deadLetters(t, f.env)
	if len(all) != 3 || all[0].Place != "letters-b.csv bytes 0-5" || all[0].Reason == "" || !strings.Contains(all[0].Error, "x0") {
		t.Fatalf("there are the dead letters %+v", all)
	}
	expect(t, f.env, []string{"dead", "list", id}, 0, "JOB", "letters-b.csv", "letters-d.csv", all[0].Reason)
	if some := deadLetters(t, f.env, id, "--error", "X1"); len(some) != 1 || some[0].Chunk.Ordinal != 2 {
		t.Errorf("--error chooses %+v", some)
	}
	if some := deadLetters(t, f.env, id, "--chunk", "1", "--chunk", "3", "--reason", all[0].Reason); len(some) != 2 {
		t.Errorf("--chunk chooses %+v", some)
	}
	if some := deadLetters(t, f.env, id, "-n", "2"); len(some) != 2 {
		t.Errorf("-n 2 gives %+v", some)
	}
	expect(t, f.env, []string{"dead", "show", id, "2"}, 0, "letters-c.csv bytes 0-5", "x1", "dray dead replay letters-1 --chunk 2")
	expect(t, f.env, []string{"dead", "show", id, "0"}, 1, "no dead letter", "it is loaded")
	expect(t, f.env, []string{"show", id}, 0, "dray dead list letters-1")
	expect(t, f.env, []string{"__complete", "dead", "show", ""}, 0, id+"\tDONE_WITH_REJECTS")
	expect(t, f.env, []string{"__complete", "dead", "show", id, ""}, 0, "\n3\t")

	// One is replayed with the mended pipeline. A mistake in it is said before
	// anything is submitted, and does not stand in the way.
	wrong := filepath.Join(f.dir, "wrong.yaml")
	text, err := os.ReadFile(mended)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, wrong, strings.Replace(string(text), "load:", "laod:", 1))
	expect(t, f.env, []string{"dead", "replay", id, "--pipeline", wrong}, 2, "wrong.yaml", "laod")
	writeFile(t, wrong, strings.Replace(string(text), "toUInt64(", "toUInt65(", 1))
	expect(t, f.env, []string{"dead", "replay", id, "--pipeline", wrong, "--chunk", "1", "--wait"}, 1, "toUInt65", "letters-1-dead1: failed")
	expect(t, f.env, []string{"dead", "replay", id, "--pipeline", mended, "--chunk", "1", "--set", "low=1", "--wait"}, 0, "letters-1-dead1-2: done")
	f.answers(t, "SELECT count(), sum(square) FROM letters", "3\t14")
	expect(t, f.env, []string{"dead", "replay", id, "--chunk", "1"}, 1, "was taken over by job letters-1-dead1-2")
	expect(t, f.env, []string{"show", id}, 0, "taken over", "letters-1-dead1-2")
	if left := deadLetters(t, f.env, id); len(left) != 2 || left[0].Chunk.Ordinal != 2 {
		t.Errorf("left are %+v", left)
	}
	if every := deadLetters(t, f.env, id, "--all"); len(every) != 3 || every[0].TakenOverBy != "letters-1-dead1-2" {
		t.Errorf("all are %+v", every)
	}

	// Replayed without a change, it is a dead letter of the new job.
	expect(t, f.env, []string{"dead", "replay", id, "--chunk", "2", "--wait", "--json"}, 1, `"job": "letters-1-dead2"`, `"state": "FAILED"`)
	expect(t, f.env, []string{"retry", "letters-1-dead2", "--pipeline", mended, "--wait"}, 0, "letters-1-dead2-dead1: done")

	expect(t, f.env, []string{"dead", "drop", id}, 2, "--all-chunks")
	expect(t, f.env, []string{"dead", "drop", id, "--all-chunks"}, 2, "Drop 1 dead letter ", "--yes")
	expect(t, f.env, []string{"dead", "drop", id, "--chunk", "1", "--yes"}, 1, "was taken over by")
	expect(t, f.env, []string{"dead", "drop", id, "--error", "x2", "--yes", "--json"}, 0, `"dropped": 1`)
	if left := deadLetters(t, f.env); len(left) != 0 {
		t.Errorf("left are %+v", left)
	}
	expect(t, f.env, []string{"retry", id}, 0, "nothing to do")
	expect(t, f.env, []string{"retry", id, "--json"}, 0, `"job": ""`, `"chunks": 0`)
	f.answers(t, "SELECT count(), sum(square) FROM letters", "4\t23")
	expect(t, f.env, []string{"dead", "lst"}, 2, "did you mean list")
	expect(t, f.env, []string{"dead", "list", "--reason", "bad"}, 2, "too_big")
	expect(t, f.env, []string{"dead", "show", id, "x"}, 2, "not the number of a chunk")
}

// In the data folder of dray run, a replay is run at once.
func TestRetryHere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := []string{"DRAY_DATA_DIR=" + filepath.Join(dir, "data")}
	bad, mended := letters(t, dir, "near")
	expect(t, env, []string{"run", bad, "-q"}, 4, "3 of 4 chunks")
	expect(t, env, []string{"retry", "last", "--pipeline", mended, "-q"}, 0, "-dead1: done", "3 rows, counted by chunk")
	if out := expect(t, env, []string{"sql", "-f", "TabSeparated", "SELECT count(), sum(square) FROM near"}, 0); strings.TrimSpace(out) != "5\t32" {
		t.Errorf("table has %q", out)
	}
	expect(t, env, []string{"dead", "list"}, 0, "no such dead letters")
	expect(t, env, []string{"rejects", "last"}, 0, "in quarantine")
}
