package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// chunkOf loads n rows of a chunk of a job, under its token.
func chunkOf(t *testing.T, c *clickhouse.Client, table clickhouse.Table, id string, chunk, n int) {
	t.Helper()
	body := native(t, c, fmt.Sprintf("SELECT number AS id, toString(number) AS s, toLowCardinality('%s') AS _job, toUInt32(%d) AS _chunk FROM numbers(%d)", id, chunk, n))
	mustLoad(t, c, load(table, body, job.Chunk{Job: id, Ordinal: uint64(chunk)}.Token(0, 0))) //nolint:gosec // small
}

func mutations(t *testing.T, c *clickhouse.Client, table string) string {
	t.Helper()
	return query(t, c, "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND table = '"+table+"'")
}

func perChunk(t *testing.T, c *clickhouse.Client, table clickhouse.Table) string {
	t.Helper()
	return strings.ReplaceAll(query(t, c, "SELECT concat(_job, '/', toString(_chunk), '=', toString(count())) AS x FROM "+table.SQL()+" GROUP BY _job, _chunk ORDER BY x"), "\n", " ")
}

func TestDeleteChunks(t *testing.T) {
	t.Parallel()
	for name, engine := range map[string]string{
		"plain":       "ENGINE = MergeTree ORDER BY id",
		"partitions":  "ENGINE = MergeTree PARTITION BY id % 3 ORDER BY id",
		"projections": "ENGINE = MergeTree ORDER BY id",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, id := jobs(t)
			table := clickhouse.Table{Database: c.Database(), Name: "t"}
			if err := c.Create(t.Context(), clickhouse.CreateSpec{Table: table, Columns: columns, Engine: engine}); err != nil {
				t.Fatal(err)
			}
			if name == "projections" {
				exec1(t, c, "ALTER TABLE t ADD PROJECTION p (SELECT s, count() GROUP BY s)")
			}
			for chunk := range 4 {
				chunkOf(t, c, table, id, chunk, 10+chunk)
				reject(t, c, batch(table, id, uint64(chunk), 2)) //nolint:gosec // small
			}
			chunkOf(t, c, table, id+"-b", 1, 5)
			reject(t, c, batch(table, id+"-b", 1, 2))
			reject(t, c, batch(clickhouse.Table{Name: "another"}, id, 50, 1))
			exec1(t, c, "OPTIMIZE TABLE t FINAL") // rows of several chunks in a part
			want := fmt.Sprintf("%[1]s-b/1=5 %[1]s/0=10 %[1]s/2=12", id)
			for range 3 {
				if err := c.DeleteChunks(t.Context(), table, id, []uint64{3, 1, 99}); err != nil {
					t.Fatal(err)
				}
				if got := perChunk(t, c, table); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			if got := mutations(t, c, "t"); got != "1" {
				t.Errorf("%s mutations", got)
			}
			left := map[uint64]int{}
			for _, r := range rejects(t, c, clickhouse.RejectFilter{Job: id}) {
				left[r.Chunk]++
			}
			if fmt.Sprint(left) != "map[0:2 2:2 50:1]" {
				t.Errorf("in quarantine: %v", left)
			}
			if n, err := c.CountRejects(t.Context(), id+"-b"); n != 2 || err != nil {
				t.Errorf("got %d, %v", n, err)
			}
			if name == "projections" {
				if got := query(t, c, "SELECT count() FROM t WHERE s = '11' SETTINGS optimize_use_projections = 1"); got != "1" {
					t.Errorf("the projection has %s rows", got)
				}
			}
			if got := query(t, c, "SELECT countIf(startsWith(command, '(UPDATE _row_exists = 0')) FROM system.mutations WHERE database = currentDatabase() AND table = 't'"); (got == "0") != (name == "projections") {
				t.Errorf("%s mutations are lightweight", got)
			}
			// What late attempts send is known still.
			chunkOf(t, c, table, id, 1, 11)
			chunkOf(t, c, table, id, 3, 13)
			if got := perChunk(t, c, table); got != want {
				t.Errorf("after late inserts: got %s, want %s", got, want)
			}

			parts, err := c.JobRows(t.Context(), table, id)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range parts {
				got = append(got, fmt.Sprintf("%s %s %d", p.Partition, p.ID, p.Rows))
			}
			wantParts := []string{"tuple() all 22"}
			if name == "partitions" {
				wantParts = []string{"0 0 8", "1 1 7", "2 2 7"}
			}
			slices.Sort(got)
			if !slices.Equal(got, wantParts) {
				t.Errorf("got %q, want %q", got, wantParts)
			}
			if n, err := c.DeleteJob(t.Context(), table, id); n != 22 || err != nil {
				t.Errorf("got %d, %v", n, err)
			}
			if n, err := c.DeleteJob(t.Context(), table, id); n != 0 || err != nil {
				t.Errorf("got %d, %v", n, err)
			}
			if got := perChunk(t, c, table); got != id+"-b/1=5" {
				t.Errorf("got %s", got)
			}
			if parts, err := c.JobRows(t.Context(), table, id); len(parts) != 0 || err != nil {
				t.Errorf("got %v, %v", parts, err)
			}
			if n, err := c.CountRejects(t.Context(), id); n != 1 || err != nil { // of another table
				t.Errorf("got %d, %v", n, err)
			}
		})
	}
}

// What a late attempt can still do when the rows of its chunk were deleted.
func TestDeleteThenALateInsert(t *testing.T) {
	t.Parallel()
	c, id := jobs(t)
	table := target(t, c, "t")
	chunkOf(t, c, table, id, 1, 10)
	if err := c.DeleteChunks(t.Context(), table, id, []uint64{1, 2}); err != nil {
		t.Fatal(err)
	}
	// The token of what was there is known, for its part is still there.
	if got := query(t, c, "SELECT sum(rows) FROM system.parts WHERE active AND database = currentDatabase() AND table = 't'"); got != "10" {
		t.Errorf("the parts have %s rows", got)
	}
	chunkOf(t, c, table, id, 1, 10)
	wantRows(t, c, table, 0)
	// That of a chunk which never came is not: its rows land, are found by
	// verification, and can be deleted.
	if err := c.RetireChunks(t.Context(), table, id, "p", []uint64{1, 2}, job.ReplacedTooBig, time.Now()); err != nil {
		t.Fatal(err)
	}
	chunkOf(t, c, table, id, 2, 10)
	wantRows(t, c, table, 10)
	p, err := c.Verify(t.Context(), table, id, true)
	if err != nil || len(p.Differ) != 1 || p.Differ[0] != (job.Difference{Chunk: 2, Found: 10}) {
		t.Errorf("got %+v, %v", p, err)
	}
	if err := c.DeleteChunks(t.Context(), table, id, []uint64{1, 2}); err != nil {
		t.Fatal(err)
	}
	chunkOf(t, c, table, id, 2, 10)
	wantRows(t, c, table, 0)
}

func TestDeleteRefuses(t *testing.T) {
	t.Parallel()
	c, id := jobs(t)
	outside := open(t, shared.URL(), func(cfg *clickhouse.Config) { cfg.Database = "default" })
	exec1(t, outside, "CREATE DATABASE "+quoted(c.Database()))
	exec1(t, c, "CREATE TABLE t (id UInt64) ENGINE = MergeTree ORDER BY id")
	for name, want := range map[string]error{"t": &clickhouse.ProvenanceError{}, "none": clickhouse.ErrNoTable} {
		table := clickhouse.Table{Name: name}
		_, err := c.DeleteJob(t.Context(), table, id)
		_, err2 := c.JobRows(t.Context(), table, id)
		for _, err := range []error{err, err2, c.DeleteChunks(t.Context(), table, id, []uint64{1})} {
			var p *clickhouse.ProvenanceError
			if errors.As(err, &p) != (name == "t") || name == "none" && !errors.Is(err, want) {
				t.Errorf("%s: got %v", name, err)
			}
			wantClass(t, err, job.Permanent)
		}
	}
}

func TestDeleteThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	c, id := jobs(t)
	table := target(t, c, "t")
	chunkOf(t, c, table, id, 1, 10)
	chunkOf(t, c, table, id, 2, 10)

	// Nothing mutates.
	exec1(t, c, "SYSTEM STOP MERGES "+table.SQL())
	ctx, cancel := context.WithCancelCause(t.Context())
	out := make(chan error, 1)
	go func() { out <- c.DeleteChunks(ctx, table, id, []uint64{1}) }()
	eventually(t, "the mutation", func() bool { return mutations(t, c, "t") == "1" })
	cancel(job.ErrDraining)
	err := <-out
	var m *clickhouse.MutationError
	if !errors.As(err, &m) || m.ID == "" || !m.Killed || m.Parts == 0 || m.Reason != "" || !errors.Is(err, job.ErrDraining) && !errors.Is(err, context.Canceled) {
		t.Fatalf("got %+v, %v", m, err)
	}
	wantClass(t, err, job.Retry)
	if got := mutations(t, c, "t"); got != "0" {
		t.Errorf("%s mutations are left", got)
	}
	exec1(t, c, "SYSTEM START MERGES "+table.SQL())
	if got := perChunk(t, c, table); got != fmt.Sprintf("%[1]s/1=10 %[1]s/2=10", id) {
		t.Errorf("got %s", got)
	}

	// A mutation of somebody else fails for ever, and ours behind it.
	exec1(t, c, "ALTER TABLE t UPDATE s = toString(throwIf(1, 'somebody else')) WHERE 1 SETTINGS mutations_sync = 0")
	err = c.DeleteChunks(t.Context(), table, id, []uint64{1})
	if !errors.As(err, &m) || !strings.Contains(m.Reason, "somebody else") || !m.Killed {
		t.Fatalf("got %+v, %v", m, err)
	}
	wantClass(t, err, job.Retry)
	if got := mutations(t, c, "t"); got != "1" {
		t.Errorf("%s mutations are left", got)
	}
	exec1(t, c, "KILL MUTATION WHERE database = currentDatabase() AND table = 't'")
	if err := c.DeleteChunks(t.Context(), table, id, []uint64{1}); err != nil {
		t.Fatal(err)
	}
	if got := perChunk(t, c, table); got != id+"/2=10" {
		t.Errorf("got %s", got)
	}

	over, done := context.WithCancelCause(t.Context())
	done(job.ErrDraining)
	if err := c.DeleteChunks(over, table, id, []uint64{2}); !errors.Is(err, job.ErrDraining) && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
