package clickhouse

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"drayage/pkg/job"
)

// ErrSnapshotTooBig: rows that are more than the limit. Its class is
// job.Permanent.
var ErrSnapshotTooBig = errors.New("too big")

// SnapshotRow is the column of a snapshot by which its rows are in order. No
// two rows of a snapshot have the same value.
const SnapshotRow = "_dray_row"

// SnapshotLimit bounds a snapshot.
type SnapshotLimit struct {
	Rows  uint64
	Bytes int64 // of the rows, without compression
}

// Snapshot is a table with a copy of rows that a job looks up. It is of one
// attempt to plan one job: its name is used once, and who made it is the only
// one to write to it.
type Snapshot struct {
	Table   Table
	UUID    string
	Job     string
	Lookup  string    // the name it has in the job
	Changed time.Time // when the table was made, by the server's clock
}

// snapshotMark is the comment of a snapshot's table.
type snapshotMark struct {
	Job    string `json:"drayage_job"`
	Lookup string `json:"lookup"`
}

const (
	snapshotPrefix = "lookup_"
	snapshotName   = 48 // characters of a job's and of a lookup's name in that of a table
)

// CreateSnapshot makes an empty table beside the ledger, under a name of its
// own, with SnapshotRow and the columns. EnsureLedger must have been called, by
// anyone, at any time before.
func (c *Client) CreateSnapshot(ctx context.Context, jobID, lookup string, cols []job.Column) (Snapshot, error) {
	what := "making a snapshot for the lookup " + lookup
	plain := strings.NewReplacer("-", "_") // a longer character in the name of a file
	name := fmt.Sprintf("%s%.*s_%.*s_%s", snapshotPrefix, snapshotName, plain.Replace(jobID), snapshotName, lookup, strings.ToLower(rand.Text()[:10]))
	s := Snapshot{Table: Table{LedgerTable.Database, name}, Job: jobID, Lookup: lookup}
	mark, err := json.Marshal(snapshotMark{jobID, lookup})
	if err != nil {
		return s, fmt.Errorf("%s: %w", what, err)
	}
	columns := []string{quoteName(SnapshotRow) + " UInt64"}
	for _, col := range cols {
		columns = append(columns, quoteName(col.Name)+" "+col.Type)
	}
	err = c.exec(ctx, what, "", "CREATE TABLE "+s.Table.SQL()+" ("+strings.Join(columns, ", ")+
		") ENGINE = MergeTree ORDER BY "+SnapshotRow+" COMMENT "+quoteString(string(mark)))
	if err != nil {
		return s, err
	}
	info, err := c.Describe(ctx, s.Table)
	s.UUID = info.UUID
	return s, err
}

// FillSnapshot has the server copy the rows of a SELECT, as they are at one
// moment if it reads one table. Without cast the columns are those of the
// SELECT, with it they are converted to these types, and a value that does not
// fit is an error. It is to be called once.
func (c *Client) FillSnapshot(ctx context.Context, s Snapshot, sel string, cols []job.Column, cast bool, limit SnapshotLimit) error {
	names, exprs := []string{SnapshotRow}, []string{"row_number() OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"}
	for _, col := range cols {
		names = append(names, col.Name)
		expr := quoteName(col.Name)
		if cast {
			expr = fmt.Sprintf("accurateCast(%s, %s)", expr, quoteString(col.Type))
		}
		exprs = append(exprs, expr)
	}
	err := c.exec(ctx, "copying the rows of the lookup "+s.Lookup, c.end.database, fmt.Sprintf(
		"INSERT INTO %s (%s) SELECT %s FROM (\n%s\n) LIMIT %d SETTINGS async_insert = 0",
		s.Table.SQL(), quoteNames(names), strings.Join(exprs, ", "), sel, limit.Rows+1))
	if err != nil {
		return err
	}
	_, _, err = c.MeasureSnapshot(ctx, s, limit)
	return err
}

// LoadSnapshot puts rows in the format Native into a snapshot: SnapshotRow and
// the columns, in this order. It is to be called once.
func (c *Client) LoadSnapshot(ctx context.Context, s Snapshot, cols []job.Column, rows io.Reader, length int64, limit SnapshotLimit) error {
	if length > 0 {
		names := []string{SnapshotRow}
		for _, col := range cols {
			names = append(names, col.Name)
		}
		err := c.Load(ctx, Load{
			Table: s.Table, Columns: names, Body: rows, Length: length, Token: "snapshot/" + s.Table.Name,
			// Nothing of it is told apart later, so parts may be large.
			Settings: map[string]string{"min_insert_block_size_rows": "1048576", "min_insert_block_size_bytes": "268435456"},
		})
		if err != nil {
			return err
		}
	}
	_, _, err := c.MeasureSnapshot(ctx, s, limit)
	return err
}

// MeasureSnapshot returns what a snapshot holds: ErrSnapshotTooBig when that is
// more than the limit.
func (c *Client) MeasureSnapshot(ctx context.Context, s Snapshot, limit SnapshotLimit) (rows uint64, bytes int64, err error) {
	what := "measuring the snapshot of the lookup " + s.Lookup
	var size uint64
	err = c.rows(ctx, what, "SELECT sum(rows), sum(data_uncompressed_bytes) FROM system.parts WHERE active AND database = "+
		quoteString(s.Table.Database)+" AND table = "+quoteString(s.Table.Name), func(scan scanner) error { return scan(&rows, &size) })
	bytes = int64(size) //nolint:gosec // below what disks hold
	switch {
	case err != nil:
	case rows > limit.Rows:
		err = job.WithClass(fmt.Errorf("the lookup %s is %w: it has more than %d rows", s.Lookup, ErrSnapshotTooBig, limit.Rows), job.Permanent)
	case bytes > limit.Bytes:
		err = job.WithClass(fmt.Errorf("the lookup %s is %w: its rows have %d bytes, and may have %d", s.Lookup, ErrSnapshotTooBig, bytes, limit.Bytes), job.Permanent)
	}
	return rows, bytes, err
}

// ReadSnapshot writes the columns of a snapshot's rows to w, in the format
// Native and in order. ErrNoTable when it is not there, or another is under its
// name.
func (c *Client) ReadSnapshot(ctx context.Context, s Snapshot, cols []job.Column, w io.Writer) error {
	what := "reading the snapshot of the lookup " + s.Lookup
	info, err := c.Describe(ctx, s.Table)
	if err == nil && info.UUID != s.UUID {
		err = job.WithClass(fmt.Errorf("%s: %s is another table: %w", what, s.Table, ErrNoTable), job.Permanent)
	}
	if err != nil {
		return err
	}
	names := make([]string, len(cols))
	for i, col := range cols {
		names[i] = col.Name
	}
	err = c.stream(ctx, what, "", "SELECT "+quoteNames(names)+" FROM "+s.Table.SQL()+" ORDER BY "+SnapshotRow, "Native", w)
	var written *writeError
	if errors.As(err, &written) {
		return written
	}
	return err
}

// Snapshots lists those of a job, of all jobs when jobID is "".
func (c *Client) Snapshots(ctx context.Context, jobID string) ([]Snapshot, error) {
	where := "database = " + quoteString(LedgerTable.Database) + " AND startsWith(name, " + quoteString(snapshotPrefix) + ") AND startsWith(comment, '{\"drayage_job\":')"
	if jobID != "" {
		where += " AND JSONExtractString(comment, 'drayage_job') = " + quoteString(jobID)
	}
	var all []Snapshot
	err := c.rows(ctx, "listing the snapshots of lookups", "SELECT name, toString(uuid), comment, metadata_modification_time FROM system.tables WHERE "+where+" ORDER BY name", func(scan scanner) error {
		s := Snapshot{Table: Table{Database: LedgerTable.Database}}
		var comment string
		if err := scan(&s.Table.Name, &s.UUID, &comment, &s.Changed); err != nil {
			return err
		}
		var mark snapshotMark
		if err := json.Unmarshal([]byte(comment), &mark); err != nil {
			return nil //nolint:nilerr // no table of ours
		}
		s.Job, s.Lookup = mark.Job, mark.Lookup
		all = append(all, s)
		return nil
	})
	return all, err
}

// DropSnapshot drops it. One that is gone is no error.
func (c *Client) DropSnapshot(ctx context.Context, s Snapshot) error {
	return c.exec(ctx, "dropping the snapshot of the lookup "+s.Lookup, "", "DROP TABLE IF EXISTS "+s.Table.SQL()+" SYNC")
}

// SelectColumns returns the columns that a SELECT gives, in the Client's
// database. A SyntaxError has its place in sel.
func (c *Client) SelectColumns(ctx context.Context, sel string) ([]job.Column, error) {
	const what = "asking ClickHouse for the columns of a SELECT"
	const head = "DESCRIBE TABLE (\n"
	var cols []job.Column
	err := c.rowsIn(ctx, what, c.end.database, head+sel+"\n) SETTINGS describe_compact_output = 1", func(scan scanner) error {
		var col job.Column
		err := scan(&col.Name, &col.Type)
		cols = append(cols, col)
		return err
	})
	if err != nil {
		return nil, syntax(what, err, sel, len(head))
	}
	return cols, nil
}
