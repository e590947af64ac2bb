package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shownProof is what verify --json says.
type shownProof struct {
	Agrees bool   `json:"agrees"`
	Kind   string `json:"kind"`
	Rows   uint64 `json:"rows"`
	Differ []struct {
		Chunk           uint64 `json:"chunk"`
		Recorded, Found uint64
		Place, What     string
	} `json:"differ"`
	Unlisted int `json:"unlisted"`
	Repair   *struct {
		Deleted, Listed, Replayed int
		Job                       string
	} `json:"repair"`
}

func proof(t *testing.T, env []string, code int, args ...string) (p shownProof) {
	t.Helper()
	out := expect(t, env, append([]string{"verify", "--json"}, args...), code)
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatalf("verify printed %s: %v", out, err)
	}
	return p
}

// Rows that are lost, doubled or stray are found by verify and mended by
// --repair; undo takes everything out again.
func TestVerifyRepairUndo(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	file := numbers(t, f.dir, "proven", 1500, "4096") // 4 chunks
	start(t, f.env, "coordinator")
	start(t, f.env, "worker", "--slots", "1")
	expect(t, f.env, []string{"submit", file, "--wait", "--key", "1"}, 0)
	const id, rows = "proven-1", "SELECT count(), uniqExact(id), sum(square) FROM proven"
	right := f.sql(t, rows)

	expect(t, f.env, []string{"verify", id}, 0, "provenance: counted by chunk", "1,350", "agrees")
	if p := proof(t, f.env, 0, id); !p.Agrees || p.Kind != "provenance" || p.Rows != 1350 || p.Differ == nil {
		t.Errorf("verify says %+v", p)
	}

	// Lost from one chunk, doubled in another, and of a chunk that never was.
	f.sql(t, "DELETE FROM proven WHERE id < 10")
	f.sql(t, "INSERT INTO proven SELECT * FROM proven WHERE _chunk = 2 AND id % 10 = 0")
	f.sql(t, "INSERT INTO proven SELECT id, square, _job, 77 FROM proven WHERE _chunk = 1 AND id % 10 = 1")
	p := proof(t, f.env, 1, id)
	if p.Agrees || len(p.Differ) != 3 {
		t.Fatalf("verify says %+v", p)
	}
	for i, want := range []struct {
		chunk uint64
		what  string
		place string
	}{{0, "rows", "proven.csv bytes 0-"}, {2, "rows", "proven.csv bytes "}, {77, "stray", ""}} {
		if d := p.Differ[i]; d.Chunk != want.chunk || d.What != want.what || !strings.HasPrefix(d.Place, want.place) || d.Recorded == d.Found {
			t.Errorf("difference %d is %+v, want %+v", i, d, want)
		}
	}
	expect(t, f.env, []string{"verify", id}, 1, "differs", "proven.csv bytes 0-", "it should have none", "--repair")
	p = proof(t, f.env, 0, id, "--repair")
	if !p.Agrees || p.Repair == nil || p.Repair.Deleted != 1 || p.Repair.Replayed != 2 || p.Repair.Job != "proven-1-chunks1" {
		t.Errorf("repair says %+v, %+v", p, p.Repair)
	}
	f.answers(t, rows, right)
	expect(t, f.env, []string{"verify", "proven-1-chunks1"}, 0, "agrees")
	expect(t, f.env, []string{"verify", id, "--repair"}, 0, "agrees")

	// A ledger that has lost a chunk says nothing against the chunk.
	f.sql(t, "ALTER TABLE drayage.ledger DELETE WHERE job = 'proven-1' AND chunk = 1 SETTINGS mutations_sync = 2")
	if p := proof(t, f.env, 0, id); !p.Agrees || p.Unlisted != 1 {
		t.Errorf("verify says %+v", p)
	}
	expect(t, f.env, []string{"verify", id, "--repair"}, 0, "1 listed", "agrees")
	if p := proof(t, f.env, 0, id); !p.Agrees || p.Unlisted != 0 {
		t.Errorf("after it was listed again verify says %+v", p)
	}
	f.answers(t, rows, right)

	expect(t, f.env, []string{"verify", id}, 0, "taken over", "proven-1-chunks1, which is DONE")
	expect(t, f.env, []string{"undo", id, "--dry-run"}, 0, "default.proven", "partition 0", "partition 1", "taken over from it by proven-1-chunks1")
	expect(t, f.env, []string{"undo", id}, 2, "--yes")
	f.answers(t, rows, right)
	var undone struct {
		Rows, Removed uint64
		Partitions    []struct{ Rows uint64 }
	}
	out := expect(t, f.env, []string{"undo", id, "--yes", "--json"}, 0)
	if err := json.Unmarshal([]byte(out), &undone); err != nil || undone.Removed == 0 || undone.Removed != undone.Rows || len(undone.Partitions) != 2 {
		t.Errorf("undo printed %s (%v)", out, err)
	}
	f.answers(t, "SELECT countIf(_job = 'proven-1'), countIf(_job != 'proven-1') > 0 FROM proven", "0\t1")
	expect(t, f.env, []string{"verify", id}, 0, "undone", "agrees")
	expect(t, f.env, []string{"show", id}, 0, "undone", "taken over")
	expect(t, f.env, []string{"jobs"}, 0, "DONE, undone")
	expect(t, f.env, []string{"retry", id}, 0, "nothing to do")
	expect(t, f.env, []string{"undo", id, "--yes"}, 0, "0 rows removed")
	expect(t, f.env, []string{"undo", "proven-1-chunks1", "--yes"}, 0, "rows removed")
	f.answers(t, "SELECT count() FROM proven", "0")
}

// A repair that can not read the input any more says so, and so does every
// verification until what it took over is loaded after all.
func TestRepairLosesNothingInSilence(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	file := numbers(t, f.dir, "missing", 1000, "4096")
	start(t, f.env, "coordinator")
	start(t, f.env, "worker", "--slots", "1")
	expect(t, f.env, []string{"submit", file, "--wait", "--key", "1"}, 0)
	f.sql(t, "DELETE FROM missing WHERE id = 0")
	input := filepath.Join(f.dir, "missing.csv")
	info, err := os.Stat(input)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(input, time.Time{}, info.ModTime().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	expect(t, f.env, []string{"verify", "missing-1", "--repair"}, 1, "missing-1-chunks1", "FAILED", "dray show missing-1-chunks1")
	expect(t, f.env, []string{"verify", "missing-1"}, 1, "which is FAILED", "what was taken over is not there")
	if err := os.Chtimes(input, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	expect(t, f.env, []string{"retry", "missing-1-chunks1", "--wait"}, 0)
	expect(t, f.env, []string{"verify", "missing-1"}, 0, "agrees")
	f.answers(t, "SELECT count(), uniqExact(id) FROM missing", "900\t900")
}

// A table without provenance has the weaker proof, and can not be undone.
func TestLedgerOnly(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.sql(t, "CREATE TABLE weaker (id UInt64, square UInt64) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 10000")
	file := numbers(t, f.dir, "weaker", 100, "4096")
	start(t, f.env, "coordinator")
	start(t, f.env, "worker", "--slots", "1")
	expect(t, f.env, []string{"submit", file, "--wait", "--key", "1"}, 0)
	expect(t, f.env, []string{"verify", "last"}, 0, "ledger: the weaker proof", "no _job and _chunk", "agrees")
	expect(t, f.env, []string{"undo", "last", "--yes"}, 1, "_job", "by hand")
	f.sql(t, "DROP TABLE weaker")
	expect(t, f.env, []string{"undo", "last", "--yes"}, 1, "no such table", "the table is gone")

	noClickHouse := append(append([]string{}, f.env...), "DRAY_CLICKHOUSE_URL=")
	expect(t, noClickHouse, []string{"verify", "last"}, 2, "DRAY_CLICKHOUSE_URL is not set")
	// A job that ended before it had a table.
	broken := filepath.Join(f.dir, "broken.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, broken, strings.Replace(string(text), "SELECT id", "SELECT idd", 1))
	expect(t, f.env, []string{"submit", broken, "--wait", "--key", "2"}, 1, "idd")
	expect(t, f.env, []string{"verify", "weaker-2"}, 0, "no chunk of it was begun")
	expect(t, f.env, []string{"undo", "weaker-2", "--yes"}, 0, "nothing to undo")
}
