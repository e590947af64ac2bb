package local_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"drayage/pkg/engine"
	"drayage/pkg/job"
)

// hostileFiles is how many files of each format are broken.
const hostileFiles = 200

// Two hundred mutated files of each format: every record that was given is
// loaded or in quarantine, or its file is a dead letter, and nothing crashes.
func TestHostile(t *testing.T) {
	t.Parallel()
	restarts := stack.Engine.Restarts()
	parquet := parquetFile(t)
	for name, c := range map[string]struct {
		ext, files string
		make       func(r *rand.Rand) []byte
	}{
		"csv": {"csv", "path: \"*.csv\", header: false", func(r *rand.Rand) []byte {
			var b strings.Builder
			for i := range 40 {
				fmt.Fprintf(&b, "%d,%d\n", i, 3*i)
			}
			return []byte(b.String())
		}},
		"json": {"json", "path: \"*.json\", format: JSONEachRow", func(r *rand.Rand) []byte {
			var b strings.Builder
			for i := range 40 {
				fmt.Fprintf(&b, "{\"id\":%d,\"double\":%d}\n", i, 3*i)
			}
			return []byte(b.String())
		}},
		"parquet": {"parquet", "path: \"*.parquet\"", func(r *rand.Rand) []byte { return append([]byte{}, parquet...) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			random := rand.New(rand.NewPCG(7, uint64(len(name))))
			for i := range hostileFiles {
				data := c.make(random)
				if i > 0 { // the first tells what the others should be
					data = mutate(random, data)
				}
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.%s", i, c.ext)), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			id := submit(t, dir, pipe("hostile_"+name, c.files, idAndDouble)+"reject: {max: 50%}\nretry: {attempts: 2, backoff: 10ms..20ms}\n")
			j := stack.Ended(t, id)
			if j.State != job.DoneWithRejects {
				t.Fatalf("the job is %s: %s", j.State, j.Error)
			}
			if j.Totals.RowsRead != j.Totals.RowsLoaded+j.Totals.RowsRejected || j.Totals.Outcomes() != j.Plan.Total() {
				t.Errorf("what was read, loaded and rejected does not add up: %+v", j.Totals)
			}
			if got := stack.SQL(t, "SELECT count() FROM hostile_"+name); got != strconv.FormatUint(j.Totals.RowsLoaded, 10) {
				t.Errorf("the table has %s rows, the job %d", got, j.Totals.RowsLoaded)
			}
			if n := uint64(len(rejected(t, id))); n != j.Totals.RowsRejected {
				t.Errorf("quarantine has %d rows, the job %d", n, j.Totals.RowsRejected)
			}
			t.Logf("%d rows loaded, %d rejected, %d chunks dead of %d", j.Totals.RowsLoaded, j.Totals.RowsRejected, j.Totals.Dead, j.Plan.Total())
		})
	}
	t.Cleanup(func() {
		if n := stack.Engine.Restarts(); n != restarts {
			t.Errorf("the engine crashed %d times", n-restarts)
		}
	})
}

// mutate changes some bytes, takes some out, or puts some in.
func mutate(r *rand.Rand, data []byte) []byte {
	for range 1 + r.IntN(6) {
		if len(data) < 2 {
			break
		}
		at := r.IntN(len(data))
		switch r.IntN(6) {
		case 0:
			data[at] = byte(r.IntN(256))
		case 1:
			data = append(data[:at], data[min(len(data), at+1+r.IntN(20)):]...)
		case 2:
			data = append(data[:at], append([]byte(strings.Repeat(string(rune(33+r.IntN(90))), 1+r.IntN(30))), data[at:]...)...)
		case 3:
			data[at] = "\"\\\n,{}[]:0-"[r.IntN(11)]
		case 4:
			data = data[:at]
		default:
			to := r.IntN(len(data))
			data[at], data[to] = data[to], data[at]
		}
	}
	return data
}

// parquetFile makes the bytes of a small Parquet file of four row groups.
func parquetFile(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.parquet")
	_, err := stack.Engine.Client().Exec(t.Context(), engine.Statement{
		SQL:      "INSERT INTO FUNCTION file('" + path + "', Parquet, 'id UInt64, double UInt64') SELECT number, 3 * number FROM numbers(40)",
		Settings: map[string]string{"output_format_parquet_row_group_size": "10"},
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
