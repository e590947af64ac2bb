package clickhouse

import (
	"context"
	"fmt"
	"strconv"

	"drayage/pkg/job"
)

// PartitionsSpec says which partitions are replaced from where. Both tables
// must have the same columns, keys and storage policy, as CreateLike makes
// them.
type PartitionsSpec struct {
	Target, Staging Table
	// StagingUUID and TargetUUID are the tables that are meant; a TargetUUID
	// of "" means whichever has the name.
	StagingUUID, TargetUUID string
}

// maxMerged is the size up to which the parts of a partition are merged into
// one before it is published. A merge takes some 15 s a GB, and as much free
// space again; REPLACE PARTITION takes milliseconds whatever the size. At 10 GiB
// it stays well within the time that an answer is waited for.
const maxMerged = 10 << 30

// ReplacePartitions puts each partition of the staging table that holds a row
// in the place of the target's partition with that ID, and returns them in the
// order of their IDs. Other partitions of the target are left alone: an empty
// staging table changes nothing. The staging table keeps its rows, so that it
// may be called again at any time, and after any error and any crash, with the
// same result, as long as nothing else writes into these partitions.
//
// Each partition is replaced in one step for those who read it; different ones
// are not replaced at once. Should the server itself crash within that step, a
// partition of several parts may hold a part of the old and of the new rows
// (ClickHouse #104660) until it is called again. So the parts are merged into
// one first, where they are no larger than 10 GiB together. An engine that
// merges rows away does so then.
//
// Call DropStaging after it: from then on, a statement of a process that was
// thought dead fails, and can not put the partitions back after another job has
// published its own. An error is ErrNoTable when a table is gone, and
// *TakenError when it was made anew; that the server refuses, since the tables
// differ, is an *Exception with the code 36 or 122. All are job.Permanent.
func (c *Client) ReplacePartitions(ctx context.Context, spec PartitionsSpec) ([]PartitionRows, error) {
	return c.replacePartitions(ctx, spec, nil)
}

func (c *Client) replacePartitions(ctx context.Context, spec PartitionsSpec, h hook) ([]PartitionRows, error) {
	spec.Target, spec.Staging = c.qualify(spec.Target), c.qualify(spec.Staging)
	what := fmt.Sprintf("replacing the partitions of %s by those of %s", spec.Target, spec.Staging)
	for _, meant := range []struct {
		table Table
		uuid  string
		any   bool
	}{{spec.Staging, spec.StagingUUID, false}, {spec.Target, spec.TargetUUID, spec.TargetUUID == ""}} {
		info, err := c.Describe(ctx, meant.table)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", what, err)
		case info.UUID != meant.uuid && !meant.any:
			return nil, job.WithClass(fmt.Errorf("%s: %w", what, &TakenError{meant.table, info.UUID, meant.uuid}), job.Permanent)
		}
	}
	partitions, parts, err := c.stagedPartitions(ctx, what, spec.Staging)
	if err != nil {
		return nil, err
	}
	for i, p := range partitions {
		id := " PARTITION ID " + quoteString(p.ID)
		if parts[i].n > 1 && parts[i].bytes <= maxMerged {
			if err := c.execSized(ctx, what, "OPTIMIZE TABLE "+spec.Staging.SQL()+id+" FINAL", h); err != nil {
				return nil, err
			}
		}
		if err := c.execSized(ctx, what, "ALTER TABLE "+spec.Target.SQL()+" REPLACE"+id+" FROM "+spec.Staging.SQL(), h); err != nil {
			return nil, fmt.Errorf("partition %s: %w", strconv.Quote(p.Partition), err)
		}
	}
	return partitions, nil
}

// partSize is how many parts a partition has, and how large they are.
type partSize struct{ n, bytes uint64 }

// stagedPartitions lists the partitions with rows. Those of which all rows
// were deleted still have parts: they must replace nothing.
func (c *Client) stagedPartitions(ctx context.Context, what string, t Table) (partitions []PartitionRows, parts []partSize, err error) {
	err = c.rows(ctx, what, fmt.Sprintf(`SELECT p.partition, r.id, r.n, p.parts, p.bytes
FROM (SELECT _partition_id AS id, count() AS n FROM %s GROUP BY id) AS r
INNER JOIN (SELECT partition_id AS id, any(partition) AS partition, count() AS parts, sum(bytes_on_disk) AS bytes
FROM system.parts WHERE database = %s AND table = %s AND active GROUP BY id) AS p ON p.id = r.id
ORDER BY r.id`, t.SQL(), quoteString(t.Database), quoteString(t.Name))+proofSettings, func(scan scanner) error {
		var p PartitionRows
		var size partSize
		err := scan(&p.Partition, &p.ID, &p.Rows, &size.n, &size.bytes)
		partitions, parts = append(partitions, p), append(parts, size)
		return err
	})
	return partitions, parts, err
}
