package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The views over the ledger.
//
//nolint:gochecknoglobals // constants
var (
	// SummaryView has a row for each job and target.
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

// view is a view over the ledger. Its version is to be raised with every change
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
		{SummaryView, 2, "Drayage's jobs, summed up from the ledger; definition ", `
SELECT e.job AS job, e.database AS database, e.table AS table, any(e.pipeline) AS pipeline,
    countIf(e.outcome = 'loaded') AS chunks_loaded, countIf(e.outcome = 'dead') AS chunks_dead,
    countIf(e.outcome = 'retired') AS chunks_retired, countIf(e.outcome = 'undone') AS chunks_undone,
    sum(e.rows_read) AS rows_read, sum(e.rows_loaded) AS rows_loaded, sum(e.rows_rejected) AS rows_rejected,
    sum(e.bytes_read) AS bytes_read, sum(e.bytes_loaded) AS bytes_loaded,
    min(e.started_at) AS started_at, max(e.recorded_at) AS recorded_at
FROM (` + effective("1") + `) AS e
GROUP BY e.job, e.database, e.table`},
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
// to make one goes without it; MissingViews tells.
func (c *Client) ensureViews(ctx context.Context, what string) error {
	there, err := c.viewVersions(ctx, what)
	if err != nil {
		return err
	}
	for _, v := range views() {
		if there[v.table.Name] >= v.version {
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

// MissingViews are the views that EnsureLedger could not make, or bring up to
// date, for want of a right: GRANT CREATE VIEW, DROP VIEW ON drayage.* gives it.
func (c *Client) MissingViews(ctx context.Context) ([]Table, error) {
	there, err := c.viewVersions(ctx, "looking for the views of the ledger")
	if err != nil {
		return nil, err
	}
	var missing []Table
	for _, v := range views() {
		if there[v.table.Name] < v.version {
			missing = append(missing, v.table)
		}
	}
	return missing, nil
}

// viewVersions are those of the views that are there, by name.
func (c *Client) viewVersions(ctx context.Context, what string) (map[string]int, error) {
	marks := map[string]string{}
	var names []string
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
