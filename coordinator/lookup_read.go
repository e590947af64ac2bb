package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/transform"
)

// reader reads all of a source into a snapshot, chunk by chunk, through the
// engine, into a file without a name: neither memory nor the disk holds more
// than a lookup may have, and a chunk.
type reader struct {
	Freezer
	source   source.Source
	columns  []job.Column
	declared bool // the columns, in the pipeline

	rows *os.File // Native, so far
	size int64
}

func (r *reader) copy(ctx context.Context, to clickhouse.Snapshot) (err error) {
	if r.rows, err = unnamed(); err != nil {
		return err
	}
	defer r.rows.Close()
	var chunk uint64
	for planned, err := range r.source.Plan(ctx, nil, r.columns) {
		if err == nil {
			err = r.chunk(ctx, chunk, planned)
		}
		if err != nil {
			return fmt.Errorf("reading the source: %w", err)
		}
		chunk++
	}
	if _, err := r.rows.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the rows again: %w", err)
	}
	return r.ClickHouse.LoadSnapshot(ctx, to, r.columns, r.rows, r.size, r.lookupLimit())
}

// rowsOfChunk is above the number of rows that a chunk of a lookup can have: the
// numbers of its rows begin with its own.
const rowsOfChunk = 1 << 32

// chunk appends the rows of a chunk.
func (r *reader) chunk(ctx context.Context, number uint64, planned source.Planned) error {
	in, err := r.source.Open(ctx, planned.Input, r.columns)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	if in.Doubt != "" {
		return job.WithClass(errors.New("the input could not be cut into records: "+in.Doubt), job.Permanent)
	}
	rel, end, err := r.relation(ctx, in)
	if err != nil {
		return err
	}
	defer end()
	settings := map[string]string{}
	maps.Copy(settings, in.Settings)
	maps.Copy(settings, rel.Settings)
	maps.Copy(settings, transform.OneBlock())
	settings["max_block_size"] = "65536" // they go out as they come
	rows, err := r.Engine.Query(ctx, engine.Statement{
		SQL: fmt.Sprintf("SELECT toUInt64(%d) + rowNumberInAllBlocks() AS %s, * FROM (%s) LIMIT %d FORMAT Native",
			number*rowsOfChunk, transform.Identifier(clickhouse.SnapshotRow), transform.Everything(rel), r.lookupLimit().Rows+1),
		Settings: settings,
	})
	if err != nil {
		return err
	}
	n, err := io.Copy(r.rows, io.LimitReader(rows, r.lookupLimit().Bytes-r.size+1))
	_ = rows.Close() // ends the statement when there is more
	if r.size += n; err == nil && r.size > r.lookupLimit().Bytes {
		return tooBig(fmt.Sprintf("its rows have more than %s", pipeline.Size(r.lookupLimit().Bytes)))
	}
	if in.Check != nil && (err == nil || ctx.Err() == nil) {
		if changed := in.Check(); changed != nil {
			return changed
		}
	}
	return err
}

// relation is what the engine reads an open input as, with every value checked.
// The function frees it.
func (r *reader) relation(ctx context.Context, in *source.Input) (transform.Input, func(), error) {
	if in.Relation != "" {
		var err error
		if in.Settings, err = r.reach().Judge(ctx, in.Relation, in.Settings); err != nil {
			return transform.Input{}, nil, err
		}
		return transform.Fetched(in.Relation, r.columns, r.declared), func() {}, nil
	}
	file, end, compression := in.File, func() {}, in.Compression
	if file == nil {
		kept, err := unnamed()
		if err != nil {
			return transform.Input{}, nil, err
		}
		end = func() { _ = kept.Close() }
		n, err := io.Copy(kept, io.LimitReader(in.Reader, r.lookupLimit().Bytes+1))
		if err == nil && n > r.lookupLimit().Bytes {
			err = tooBig(fmt.Sprintf("its input has more than %s", pipeline.Size(r.lookupLimit().Bytes)))
		}
		if err != nil {
			end()
			return transform.Input{}, nil, err
		}
		file, compression = kept, "none"
	}
	return transform.Strict(transform.Bytes{
		Path: engine.FilePath(file), Format: in.Format, Compression: compression,
		Structure: in.Structure, Columns: r.columns, Settings: in.Settings, Pattern: in.Pattern, Framed: in.Framed, Unscanned: true,
	}), end, nil
}

// unnamed makes a file that is gone when it is closed.
func unnamed() (*os.File, error) {
	f, err := os.CreateTemp("", "dray-lookup-*")
	if err != nil {
		return nil, fmt.Errorf("making a file for the rows of a lookup: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("making a file for the rows of a lookup: %w", err), f.Close())
	}
	return f, nil
}
