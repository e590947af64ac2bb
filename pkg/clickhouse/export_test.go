package clickhouse

import (
	"context"

	"drayage/pkg/job"
)

// Codes are the names of the table of verdicts.
func Codes() map[int32]string {
	names := map[int32]string{}
	for code, v := range verdicts {
		names[code] = v.name
	}
	return names
}

// SwapInHooked is SwapIn with a hook around each statement that it runs.
func (c *Client) SwapInHooked(ctx context.Context, spec SwapSpec, h func(statement string, done bool) error) error {
	return c.swapIn(ctx, spec, h)
}

// DropStagingHooked is DropStaging with a hook around each statement.
func (c *Client) DropStagingHooked(ctx context.Context, staging Table, uuid string, h func(statement string, done bool) error) error {
	return c.dropStaging(ctx, staging, uuid, h)
}

// ReplacePartitionsHooked is ReplacePartitions with a hook around each statement.
func (c *Client) ReplacePartitionsHooked(ctx context.Context, spec PartitionsSpec, h func(statement string, done bool) error) ([]PartitionRows, error) {
	return c.replacePartitions(ctx, spec, h)
}

// Statements are what Create runs for the table; the second may be "".
func (s CreateSpec) Statements() (create, widen string, err error) {
	made, err := s.statement()
	return made.sql, made.widen, err
}

// AddColumnsSQL is the statement of AddColumns.
func AddColumnsSQL(t Table, columns []job.Column, cluster string) string {
	return addColumns(t, columns, cluster)
}

// ExecSized runs a statement as one that may drop what is large.
func (c *Client) ExecSized(ctx context.Context, statement string) error {
	return c.execSized(ctx, "testing", statement, nil)
}
