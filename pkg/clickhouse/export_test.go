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

// SwapInHooked is SwapIn with a hook after each statement that it runs.
func (c *Client) SwapInHooked(ctx context.Context, spec SwapSpec, after func(statement string) error) error {
	return c.swapIn(ctx, spec, after)
}

// DropStagingHooked is DropStaging with a hook after each statement.
func (c *Client) DropStagingHooked(ctx context.Context, staging Table, uuid string, after func(statement string) error) error {
	return c.dropStaging(ctx, staging, uuid, after)
}

// ReplacePartitionsHooked is ReplacePartitions with a hook after each statement.
func (c *Client) ReplacePartitionsHooked(ctx context.Context, spec PartitionsSpec, after func(statement string) error) ([]PartitionRows, error) {
	return c.replacePartitions(ctx, spec, after)
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
