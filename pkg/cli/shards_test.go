package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/testkit/nativefront"
)

// A job into two shards, while a worker and a shard are killed: each chunk is on
// one of them, all of it and once; the rows are counted where they are, mended
// there when they are gone, and taken out again.
func TestShards(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	var shards []*engine.Process
	var urls []string
	for _, name := range []string{"shard1", "shard2"} {
		p, err := engine.Start(t.Context(), engine.Config{Name: name, Path: filepath.Join(f.dir, name)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := p.Close(); err != nil {
				t.Log(err) // one is killed
			}
		})
		shards, urls = append(shards, p), append(urls, p.URL())
	}
	on := func(i int, sql string) string {
		t.Helper()
		c, err := clickhouse.Open(t.Context(), clickhouse.Config{URL: urls[i]})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var b strings.Builder
		if err := c.Query(t.Context(), sql, "TabSeparated", &b); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return strings.TrimSpace(b.String())
	}
	const n, bad = 20_000, 20
	var lines strings.Builder
	for i := range n {
		if i%1000 == 500 {
			fmt.Fprintf(&lines, "%d,no number\n", i)
			continue
		}
		fmt.Fprintf(&lines, "%d,%d\n", i, i)
	}
	text := `pipeline: shared
source: {files: {path: shared.csv, header: false}, columns: "id UInt64, v UInt64", chunk: 4KiB}
reject: {max: 10%}
load: {table: shared, order_by: id, sharded: true}
`
	file := filepath.Join(f.dir, "shared.yaml")
	if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), os.WriteFile(filepath.Join(f.dir, "shared.csv"), []byte(lines.String()), 0o600)); err != nil {
		t.Fatal(err)
	}

	if _, stderr, code := dray(t, f.env, "validate", file); code != 2 || !strings.Contains(stderr, "shared.yaml:4:") || !strings.Contains(stderr, "DRAY_CLICKHOUSE_SHARDS") {
		t.Errorf("without shards validate exits with %d: %s", code, stderr)
	}
	// One shard, and the server with the ledger, over the native protocol.
	named := []string{urls[0], overTCP(t, urls[1])}
	env := append(f.env, "DRAY_CLICKHOUSE_URL="+overTCP(t, f.server.URL()), "DRAY_CLICKHOUSE_SHARDS="+strings.Join(named, ","))
	start(t, env, "coordinator")
	first := start(t, env, "worker")
	start(t, env, "worker")
	submit := start(t, env, "submit", file, "--wait", "--json", "--key", "1")
	const id = "shared-1"
	f.results(t, id, 3)
	first.signal(syscall.SIGKILL)
	f.results(t, id, 8)
	if err := syscall.Kill(shards[1].Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	submit.exits(4)
	var j job.Job
	if err := json.Unmarshal([]byte(submit.log.String()), &j); err != nil {
		t.Fatal(err)
	}
	if j.Totals.RowsLoaded != n-bad || j.Totals.RowsRejected != bad || j.Totals.Dead != 0 || j.Proof == nil || j.Proof.Rows != n-bad || len(j.Proof.Tables) != 2 {
		t.Errorf("the job has %+v, and the proof %+v", j.Totals, j.Proof)
	}
	whole := func() {
		t.Helper()
		var rows, ids int
		for i := range shards {
			var some, distinct, stray int
			// Each chunk has its shard.
			text := on(i, fmt.Sprintf("SELECT count(), uniqExact(id), countIf(_chunk %% 2 != %d AND _chunk < 4294967296) FROM shared", i))
			if _, err := fmt.Sscan(text, &some, &distinct, &stray); err != nil {
				t.Fatal(err)
			}
			if stray > 0 || some == 0 {
				t.Errorf("shard %d has %d rows, %d of them another's", i+1, some, stray)
			}
			rows, ids = rows+some, ids+distinct
		}
		if rows != n-bad || ids != n-bad {
			t.Errorf("the shards have %d rows with %d ids", rows, ids)
		}
	}
	whole()
	if out, stderr, code := dray(t, env, "verify", id); code != 0 {
		t.Errorf("verify exits with %d: %s%s", code, out, stderr)
	}

	on(1, "DELETE FROM shared WHERE _chunk % 7 = 1 SETTINGS mutations_sync = 2")
	if out, _, code := dray(t, env, "verify", id); code != 1 || !strings.Contains(out, "shared") {
		t.Errorf("after rows were deleted verify exits with %d: %s", code, out)
	}
	if out, stderr, code := dray(t, env, "verify", id, "--repair"); code != 0 {
		t.Fatalf("verify --repair exits with %d: %s%s", code, out, stderr)
	}
	var rows int
	for i := range shards {
		var some int
		fmt.Sscan(on(i, "SELECT count() FROM shared"), &some)
		rows += some
	}
	if rows != n-bad {
		t.Errorf("after the repair there are %d rows", rows)
	}
	if out, stderr, code := dray(t, env, "undo", id, "--yes"); code != 0 {
		t.Fatalf("undo exits with %d: %s%s", code, out, stderr)
	}
	for i := range shards {
		if got := on(i, "SELECT count() FROM shared WHERE _job = '"+id+"'"); got != "0" {
			t.Errorf("after undo shard %d has %s rows of the job", i+1, got)
		}
	}
}

// overTCP is an engine's address in the native protocol.
func overTCP(t *testing.T, address string) string {
	t.Helper()
	front, err := nativefront.Start(address, nativefront.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := front.Close(); err != nil {
			t.Error(err)
		}
	})
	return front.URL()
}
