package clickhouse

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// SummaryView is a view over the ledger with a row for each job and target.
//
//nolint:gochecknoglobals // a constant
var SummaryView = Table{"drayage", "jobs"}

// summaryVersion is that of the view's definition; it is to be raised with
// every change of it, or of effective. A view of an older one is replaced, a
// view of a newer one is left alone.
const summaryVersion = 2

// summaryMark begins the view's comment, before its version. A view without
// it is the first version.
const summaryMark = "Drayage's jobs, summed up from the ledger; definition "

// ensureSummary makes the view, or replaces an older one at once: no reader
// finds none. The rights to replace it are needed only when there is a change.
func (c *Client) ensureSummary(ctx context.Context, what string) error {
	version, err := c.summaryVersion(ctx, what)
	if err != nil || version >= summaryVersion {
		return err
	}
	err = c.exec(ctx, what, "", "CREATE OR REPLACE VIEW "+SummaryView.SQL()+` AS
SELECT e.job AS job, e.database AS database, e.table AS table, any(e.pipeline) AS pipeline,
    countIf(e.outcome = 'loaded') AS chunks_loaded, countIf(e.outcome = 'dead') AS chunks_dead,
    countIf(e.outcome = 'retired') AS chunks_retired, countIf(e.outcome = 'undone') AS chunks_undone,
    sum(e.rows_read) AS rows_read, sum(e.rows_loaded) AS rows_loaded, sum(e.rows_rejected) AS rows_rejected,
    sum(e.bytes_read) AS bytes_read, sum(e.bytes_loaded) AS bytes_loaded,
    min(e.started_at) AS started_at, max(e.recorded_at) AS recorded_at
FROM (`+effective("1")+`) AS e
GROUP BY e.job, e.database, e.table
COMMENT `+quoteString(summaryMark+strconv.Itoa(summaryVersion)))
	if err == nil {
		return nil
	}
	// Somebody else may have replaced it at the same moment.
	if version, again := c.summaryVersion(ctx, what); again == nil && version >= summaryVersion {
		return nil
	}
	return err
}

// summaryVersion is that of the view which is there: 0 when there is none.
func (c *Client) summaryVersion(ctx context.Context, what string) (int, error) {
	version := 0
	err := c.rows(ctx, what, "SELECT comment FROM system.tables WHERE database = "+quoteString(SummaryView.Database)+
		" AND name = "+quoteString(SummaryView.Name), func(scan scanner) error {
		var comment string
		if err := scan(&comment); err != nil {
			return err
		}
		version = 1
		if number, ok := strings.CutPrefix(comment, summaryMark); ok {
			n, err := strconv.Atoi(number)
			if err != nil {
				return fmt.Errorf("the comment of %s is %q: %w", SummaryView, comment, err)
			}
			version = n
		}
		return nil
	})
	return version, err
}
