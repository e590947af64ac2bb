package local_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/job"
)

// orcFiles makes the bytes of an ORC file, and of one that crashes the engine:
// ClickHouse 26.7 does not look whether zstd could unpack what is in it.
func orcFiles(t *testing.T) (good, bad []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.orc")
	_, err := stack.Engine.Client().Exec(t.Context(), engine.Statement{
		SQL:      "INSERT INTO FUNCTION file('" + path + "', ORC, 'id UInt64, double UInt64') SELECT number, intDiv(number, 100) FROM numbers(20000)",
		Settings: map[string]string{"output_format_orc_compression_method": "zstd"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if good, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	bad = bytes.ReplaceAll(good, []byte{0x28, 0xb5, 0x2f, 0xfd}, []byte{0x28, 0xb5, 0x2f, 0x56})
	if bytes.Equal(good, bad) {
		t.Fatal("nothing in the file was packed")
	}
	return good, bad
}

// Files that crash the engine are dead letters, which say so. The chunks that were
// in it at that moment do not pay for it: not even with their only attempt.
func TestPoison(t *testing.T) {
	dir := t.TempDir()
	good, bad := orcFiles(t)
	const files, broken = 40, 8
	for i := range files {
		data := good
		if i%(files/broken) == 3 {
			data = bad
		}
		write(t, dir, fmt.Sprintf("%02d.orc", i), string(data))
	}
	before := stack.Engine.Restarts()
	id := submit(t, dir, pipe("poison", `path: "*.orc"`, idAndDouble)+"retry: {attempts: 1}\nreject: {max: 50%}\n")
	j := stack.Ended(t, id)
	if j.State != job.DoneWithRejects || j.Totals.Dead != broken || j.Totals.Chunks != files-broken || j.Totals.RowsLoaded != 20000*(files-broken) {
		t.Errorf("the job is %s: %s, %+v", j.State, j.Error, j.Totals)
	}
	if got := stack.SQL(t, "SELECT count() FROM poison"); got != strconv.Itoa(20000*(files-broken)) {
		t.Errorf("%s rows in the table", got)
	}
	dead, err := stack.Queue.DeadLetters(t.Context(), id, 2*broken)
	if err != nil || len(dead) != broken {
		t.Errorf("%d dead letters, %v", len(dead), err)
	}
	for _, d := range dead {
		if d.Reason != job.ReasonPermanent || !strings.Contains(d.Error, "the engine crashed: signal: ") || d.Chunk.Ordinal%(files/broken) != 3 {
			t.Errorf("chunk %d: %s: %s", d.Chunk.Ordinal, d.Reason, d.Error)
		}
	}
	if crashes := stack.Engine.Restarts() - before; crashes < broken || crashes > 2*broken {
		t.Errorf("%d crashes of %d files", crashes, broken)
	}
}

// A job whose columns can not be found out, for the file crashes the engine, fails,
// and does not crash it for ever.
func TestPoisonedPlan(t *testing.T) {
	dir := t.TempDir()
	_, bad := orcFiles(t)
	write(t, dir, "bad.orc", string(bad))
	j := stack.Ended(t, submit(t, dir, pipe("poisoned_plan", "path: bad.orc", "")))
	if j.State != job.Failed || !strings.Contains(j.Error, "bad.orc") || !strings.Contains(j.Error, "the engine crashed: signal: ") {
		t.Errorf("the job is %s: %s", j.State, j.Error)
	}
}
