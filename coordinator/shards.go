package coordinator

import (
	"context"
	"fmt"
	"slices"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// findShards finds or makes the table on each shard, which must be alike on all.
func (t targeting) findShards(ctx context.Context, table clickhouse.Table) error {
	names := t.ClickHouse.Shards()
	if len(names) == 0 {
		return mistake(t.at("load.sharded", "there are no shards", "set DRAY_CLICKHOUSE_SHARDS=http://host1:8123,http://host2:8123 for the coordinator and the workers"))
	}
	var first *job.Target
	for _, name := range names {
		shard, err := t.ClickHouse.Shard(ctx, name)
		if err != nil {
			return err
		}
		if t.Create {
			if err := shard.EnsureLedger(ctx); err != nil {
				return fmt.Errorf("on the shard %s: %w", name, err)
			}
		}
		one, own := t, *t.out
		one.ClickHouse, one.out = shard, &own
		if err := one.findOne(ctx, table); err != nil {
			return fmt.Errorf("on the shard %s: %w", name, err)
		}
		if first == nil {
			first = &own
			continue
		}
		if !slices.Equal(own.Output, first.Output) || own.Provenance != first.Provenance {
			return mistake(t.at("load.table", fmt.Sprintf("the table %s is not the same on the shards %s and %s", table, names[0], name),
				"give its columns the same types, and all or none the columns _job and _chunk"))
		}
		first.Views = first.Views || own.Views
	}
	first.Shards = names
	*t.out = *first
	return nil
}
