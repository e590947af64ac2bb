package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The views over the ledger and the states of jobs.
//
//nolint:gochecknoglobals // constants
var (
	// SummaryView has a row for each job and target, and one for a job of which no
	// target is known.
	SummaryView = Table{"drayage", "jobs"}
	// ChunksView has a row for each chunk and target: its outcome that counts, or
	// that of its latest attempt while it has none.
	ChunksView = Table{"drayage", "chunks"}
	// ErrorsView has a row for each kind of error of a job: errors that differ in
	// their numbers only are of one kind.
	ErrorsView = Table{"drayage", "errors"}
	// ThroughputView has a row for each minute, job and target in which chunks
	// were loaded.
	ThroughputView = Table{"drayage", "throughput"}
)

// view is a view over what Drayage records. Its version is to be raised with every change
// of its query: a view of an older one is replaced, one of a newer one is left
// alone.
type view struct {
	table   Table
	version int
	mark    string // begins its comment, before the version; a view without it is the first version
	query   string
}

func views() []view {
	return []view{
		{SummaryView, 3, "Drayage's jobs, summed up from the ledger; definition ", summaryQuery()},
		{ChunksView, 1, "Drayage's chunks with their last outcome, from the ledger; definition ", chunksQuery()},
		{ErrorsView, 1, "Errors of Drayage's chunks by kind, from the ledger; definition ", `
SELECT l.job AS job, l.pipeline AS pipeline, l.outcome AS outcome, replaceRegexpAll(l.error, '[0-9]+', 'N') AS kind,
    count() AS attempts, uniqExact(l.chunk) AS chunks, argMax(l.error, l.recorded_at) AS last_error,
    min(l.recorded_at) AS first_at, max(l.recorded_at) AS last_at
FROM ` + LedgerTable.SQL() + ` AS l FINAL
WHERE l.error != '' AND l.outcome NOT IN ('loaded', 'retired', 'undone')
GROUP BY l.job, l.pipeline, l.outcome, kind`},
		{ThroughputView, 1, "What Drayage loaded in each minute, from the ledger; definition ", `
SELECT toStartOfMinute(l.recorded_at) AS minute, l.job AS job, l.database AS database, l.table AS table, any(l.pipeline) AS pipeline,
    count() AS chunks, sum(l.rows_read) AS rows_read, sum(l.rows_loaded) AS rows_loaded, sum(l.rows_rejected) AS rows_rejected,
    sum(l.bytes_read) AS bytes_read, sum(l.bytes_loaded) AS bytes_loaded, uniqExact(l.worker) AS workers
FROM ` + LedgerTable.SQL() + ` AS l FINAL
WHERE l.outcome = 'loaded'
GROUP BY minute, l.job, l.database, l.table`},
	}
}

// summaryQuery puts what the ledger sums up to beside the last state of each job.
// Each side gives one row at most for a job and target: argMax by ledgered is then
// the ledger's value where there is one, and argMin that of the states. There is
// no join, so that a condition on the job reaches the primary keys of both.
func summaryQuery() string {
	sums := []string{
		"chunks_loaded", "chunks_dead", "chunks_retired", "chunks_undone",
		"rows_read", "rows_loaded", "rows_rejected", "bytes_read", "bytes_loaded",
	}
	told := []string{"target", "state", "since", "error", "waiting", "submitted_at"} // by the states alone
	var columns, none []string
	for _, name := range sums {
		columns = append(columns, "sum(u."+name+") AS "+name)
		none = append(none, "0 AS "+name)
	}
	for _, name := range []string{"started_at", "recorded_at"} {
		columns = append(columns, "argMax(u."+name+", u.ledgered) AS "+name)
	}
	for _, name := range told {
		columns = append(columns, "argMin(u."+name+", u.ledgered) AS "+name)
	}
	const never = "toDateTime64(0, 3, 'UTC')"
	var picked []string
	for _, name := range []string{"pipeline", "databases", "tables", "targets", "state", "error", "waiting", "started_at"} {
		picked = append(picked, "argMax(j."+name+", "+lastState+") AS "+name)
	}
	return `
SELECT u.job AS job, u.database AS database, u.table AS table, argMax(u.pipeline, u.ledgered) AS pipeline,
    ` + strings.Join(columns, ", ") + `,
    if(state IN (` + endStates + `), since, NULL) AS ended_at
FROM (
    SELECT e.job AS job, e.database AS database, e.table AS table, any(e.pipeline) AS pipeline,
        countIf(e.outcome = 'loaded') AS chunks_loaded, countIf(e.outcome = 'dead') AS chunks_dead,
        countIf(e.outcome = 'retired') AS chunks_retired, countIf(e.outcome = 'undone') AS chunks_undone,
        sum(e.rows_read) AS rows_read, sum(e.rows_loaded) AS rows_loaded, sum(e.rows_rejected) AS rows_rejected,
        sum(e.bytes_read) AS bytes_read, sum(e.bytes_loaded) AS bytes_loaded,
        min(e.started_at) AS started_at, max(e.recorded_at) AS recorded_at, 1 AS ledgered,
        '' AS target, '' AS state, ` + never + ` AS since, '' AS error, '' AS waiting, ` + never + ` AS submitted_at
    FROM (` + effective("1") + `) AS e
    GROUP BY e.job, e.database, e.table
    UNION ALL
    SELECT s.job AS job, loads_database AS database, loads_table AS table, s.pipeline AS pipeline,
        ` + strings.Join(none, ", ") + `,
        s.started_at AS started_at, s.since AS recorded_at, 0 AS ledgered,
        loads_target AS target, s.state AS state, s.since AS since, s.error AS error, s.waiting AS waiting, s.submitted_at AS submitted_at
    FROM (
        SELECT j.job AS job, ` + strings.Join(picked, ", ") + `, max(j.submitted_at) AS submitted_at, argMax(j.at, ` + lastState + `) AS since
        FROM ` + StatesTable.SQL() + ` AS j GROUP BY j.job
    ) AS s
    ARRAY JOIN if(empty(s.tables), [''], s.databases) AS loads_database, if(empty(s.tables), [''], s.tables) AS loads_table, if(empty(s.tables), [''], s.targets) AS loads_target
) AS u
GROUP BY u.job, u.database, u.table`
}

// chunksQuery orders the attempts of a chunk as effective does, those that have
// ended nothing behind the others, the latest first.
func chunksQuery() string {
	const ends = "l.outcome IN ('loaded', 'dead')"
	const order = "tuple(l.outcome != 'undone', l.outcome != 'retired', NOT " + ends + ", -toInt64(l.generation), l.outcome != 'loaded', if(" + ends + ", 1, -1) * toInt64(l.attempt))"
	columns := []string{"l.job AS job", "l.database AS database", "l.table AS table", "l.chunk AS chunk"}
	for _, name := range []string{
		"pipeline", "outcome", "generation", "attempt", "worker", "rows_read", "rows_loaded", "rows_rejected",
		"bytes_read", "bytes_loaded", "transform_ms", "load_ms", "recovered", "error", "started_at", "recorded_at",
	} {
		columns = append(columns, "argMin(l."+name+", "+order+") AS "+name)
	}
	return "\nSELECT " + strings.Join(columns, ", ") + "\nFROM " + LedgerTable.SQL() + " AS l\nGROUP BY l.job, l.database, l.table, l.chunk"
}

// ensureViews makes the views that are not there, and replaces older ones at
// once: no reader finds none. Nothing rests on them, so a user without the right
// to make one, or the table that it reads, goes without it; Missing tells.
func (c *Client) ensureViews(ctx context.Context, what string) error {
	there, err := c.viewVersions(ctx, what)
	if err != nil {
		return err
	}
	for _, v := range views() {
		if there[v.table.Name] >= v.version || v.table == SummaryView && there[StatesTable.Name] == 0 {
			continue
		}
		err := c.exec(ctx, what, "", "CREATE OR REPLACE VIEW "+v.table.SQL()+" AS"+v.query+"\nCOMMENT "+quoteString(v.mark+strconv.Itoa(v.version)))
		var x *Exception
		if err == nil || errors.As(err, &x) && x.Code == codeAccessDenied {
			continue
		}
		// Somebody else may have replaced it at the same moment.
		if again, look := c.viewVersions(ctx, what); look == nil && again[v.table.Name] >= v.version {
			continue
		}
		return err
	}
	return nil
}

// Missing is what EnsureLedger could not make, or bring up to date, for want of a
// right: the views, and the table of the states of jobs. GRANT CREATE TABLE,
// CREATE VIEW, DROP VIEW ON drayage.* gives it.
func (c *Client) Missing(ctx context.Context) ([]Table, error) {
	there, err := c.viewVersions(ctx, "looking for the views of the ledger")
	if err != nil {
		return nil, err
	}
	var missing []Table
	if there[StatesTable.Name] == 0 {
		missing = append(missing, StatesTable)
	}
	for _, v := range views() {
		if there[v.table.Name] < v.version {
			missing = append(missing, v.table)
		}
	}
	return missing, nil
}

// viewVersions are those of the views that are there, by name. The table of states
// has version 1.
func (c *Client) viewVersions(ctx context.Context, what string) (map[string]int, error) {
	marks := map[string]string{}
	names := []string{StatesTable.Name}
	for _, v := range views() {
		marks[v.table.Name] = v.mark
		names = append(names, v.table.Name)
	}
	versions := map[string]int{}
	err := c.rows(ctx, what, "SELECT name, comment FROM system.tables WHERE database = "+quoteString(SummaryView.Database)+
		" AND name IN ("+quoteStrings(names)+")", func(scan scanner) error {
		var name, comment string
		if err := scan(&name, &comment); err != nil {
			return err
		}
		versions[name] = 1
		if name == StatesTable.Name {
			return nil
		}
		if number, ok := strings.CutPrefix(comment, marks[name]); ok {
			n, err := strconv.Atoi(number)
			if err != nil {
				return fmt.Errorf("the comment of the view %s is %q: %w", name, comment, err)
			}
			versions[name] = n
		}
		return nil
	})
	return versions, err
}
