package coordinator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// Store is a server that has rows of a job, or the records of them.
//
// Of a sharded target each shard has the ledger and the quarantine of its own
// chunks beside their rows, so that it can vouch for them by itself, and the
// server of DRAY_CLICKHOUSE_URL those of all, and no rows.
type Store struct {
	*clickhouse.Client
	Target     int // of job.Frozen.Targets
	Table      clickhouse.Table
	Provenance bool   // the rows can be counted by chunk
	Records    bool   // it has the ledger and the quarantine of a sharded target, and no rows
	Copy       bool   // its ledger and quarantine are copies
	shard      string // "" but for shards
}

// Name is the table, of a shard with the server.
func (s Store) Name() string {
	if s.shard == "" {
		return s.Table.String()
	}
	return s.Table.String() + " on " + s.shard
}

// Stores are the servers of a job that was frozen, in the order of its targets.
func Stores(ctx context.Context, ch *clickhouse.Client, j job.Job) ([]Store, error) {
	tables := Tables(j)
	var all []Store
	for i, t := range j.Frozen.Targets() {
		first := Store{Client: ch, Target: i, Table: tables[i], Provenance: t.Provenance}
		if len(t.Shards) == 0 {
			all = append(all, first)
			continue
		}
		first.Provenance, first.Records = false, true
		all = append(all, first)
		for _, name := range t.Shards {
			shard, err := ch.Shard(ctx, name)
			if err != nil {
				return nil, err
			}
			all = append(all, Store{Client: shard, Target: i, Table: tables[i], Provenance: t.Provenance, Copy: true, shard: name})
		}
	}
	return all, nil
}

// AppendLedger writes rows of the job's ledger wherever they belong.
func AppendLedger(ctx context.Context, ch *clickhouse.Client, j job.Job, rows []clickhouse.LedgerRow) error {
	if err := ch.AppendLedger(ctx, rows); err != nil || j.Frozen == nil {
		return err
	}
	tables := Tables(j)
	for i, t := range j.Frozen.Targets() {
		for _, name := range t.Shards {
			var own []clickhouse.LedgerRow
			for _, r := range rows {
				if r.Table == tables[i] && t.Shard(r.Chunk) == name {
					own = append(own, r)
				}
			}
			if len(own) == 0 {
				continue
			}
			shard, err := ch.Shard(ctx, name)
			if err != nil {
				return err
			}
			if err := shard.AppendLedger(ctx, own); err != nil {
				return fmt.Errorf("on the shard %s: %w", name, err)
			}
		}
	}
	return nil
}

// StopInserts ends what INSERTs of the job's chunks may still run on its servers;
// nil chunks means all. It is clickhouse.Client.StopInserts on each, and the
// first error.
func StopInserts(ctx context.Context, ch *clickhouse.Client, j job.Job, chunks []uint64) error {
	first := ch.StopInserts(ctx, j.ID, chunks)
	if j.Frozen == nil {
		return first
	}
	var names []string
	for _, t := range j.Frozen.Targets() {
		names = append(names, t.Shards...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		shard, err := ch.Shard(ctx, name)
		if err == nil {
			err = shard.StopInserts(ctx, j.ID, chunks)
		}
		if err != nil && first == nil {
			first = fmt.Errorf("on the shard %s: %w", name, err)
		}
	}
	return first
}

// retire notes in the ledger that chunks count no more, and deletes their rows.
func retire(ctx context.Context, ch *clickhouse.Client, j job.Job, chunks []uint64, why string) error {
	stores, err := Stores(ctx, ch, j)
	if err != nil {
		return err
	}
	for _, s := range stores {
		if err := s.RetireChunks(ctx, s.Table, j.ID, j.Name, chunks, why, time.Now()); err != nil {
			return fmt.Errorf("noting retired chunks in the ledger: %w", err)
		}
	}
	if err := Remove(ctx, ch, j, chunks); err != nil {
		return fmt.Errorf("removing the rows of retired chunks: %w", err)
	}
	return nil
}

// Remove deletes the rows and rejects of chunks of the job from the targets that
// tell which rows those are. It may be done again.
func Remove(ctx context.Context, ch *clickhouse.Client, j job.Job, chunks []uint64) error {
	if len(chunks) == 0 {
		return nil
	}
	stores, err := Stores(ctx, ch, j)
	if err != nil {
		return err
	}
	for _, s := range stores {
		switch {
		case s.Records:
			err = s.DeleteRejects(ctx, s.Table, j.ID, chunks)
		case s.Provenance:
			err = s.DeleteChunks(ctx, s.Table, j.ID, chunks)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
