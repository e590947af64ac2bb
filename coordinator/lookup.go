package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"drayage/pkg/clickhouse"
	"drayage/pkg/fault"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/source/kinds"
	"drayage/pkg/transform"
)

// DefaultLookups bounds a lookup, for every worker holds it in its engine's
// memory. The bytes are those of a file, or of the rows without compression.
func DefaultLookups() clickhouse.SnapshotLimit {
	return clickhouse.SnapshotLimit{Rows: 10_000_000, Bytes: 1 << 30}
}

// looking finds out about the lookups of a job and puts them into the
// workspace in which its SELECTs are checked.
type looking struct {
	Freezer
	doc       *pipeline.Document
	pipeline  *pipeline.Pipeline // with its references resolved
	id        string             // of the job
	workspace transform.Workspace
	copied    []clickhouse.Snapshot
}

// all prepares every lookup, in the order of their names. What it has copied
// until an error is in l.copied.
func (l *looking) all(ctx context.Context) (map[string]job.Lookup, error) {
	frozen := map[string]job.Lookup{}
	for _, name := range slices.Sorted(maps.Keys(l.pipeline.Lookups)) {
		one, err := l.one(ctx, name, l.pipeline.Lookups[name])
		if err != nil {
			return nil, l.refused(name, err)
		}
		frozen[name] = one
	}
	return frozen, nil
}

func (l *looking) one(ctx context.Context, name string, spec pipeline.Lookup) (job.Lookup, error) {
	if spec.Kind() == pipeline.LookupPath {
		return l.file(ctx, name, spec)
	}
	o, err := l.origin(ctx, spec)
	if err != nil {
		return job.Lookup{}, err
	}
	if !l.Create {
		return job.Lookup{Columns: o.columns}, l.workspace.DeclareLookup(ctx, name, o.columns)
	}
	s, err := l.ClickHouse.CreateSnapshot(ctx, l.id, name, o.columns)
	l.copied = append(l.copied, s) // it may be there, whatever the error says
	if err != nil {
		return job.Lookup{}, err
	}
	if err := l.Faults.At(fault.Snapshot); err != nil {
		return job.Lookup{}, err
	}
	if err := o.copy(ctx, s); err != nil {
		return job.Lookup{}, err
	}
	_, bytes, err := l.ClickHouse.MeasureSnapshot(ctx, s, l.lookupLimit())
	if err != nil {
		return job.Lookup{}, err
	}
	// Read as the workers will.
	loaded, err := l.workspace.LoadNative(ctx, name, o.columns, func(w io.Writer) error {
		return l.ClickHouse.ReadSnapshot(ctx, s, o.columns, w)
	})
	loaded.Bytes, loaded.Database, loaded.Table, loaded.UUID = bytes, s.Table.Database, s.Table.Name, s.UUID
	return loaded, err
}

func (f Freezer) lookupLimit() clickhouse.SnapshotLimit {
	if f.Lookups == (clickhouse.SnapshotLimit{}) {
		return DefaultLookups()
	}
	return f.Lookups
}

// file is a lookup that every worker reads by itself.
func (l *looking) file(ctx context.Context, name string, spec pipeline.Lookup) (job.Lookup, error) {
	path := transform.LookupPath(l.doc.Dir, spec.Path)
	info, err := l.Allow.Stat(path)
	if err != nil {
		return job.Lookup{}, job.WithClass(fmt.Errorf("the file can not be read: %w", err), job.Permanent)
	}
	limit := l.lookupLimit()
	if info.Size() > limit.Bytes {
		return job.Lookup{}, tooBig(fmt.Sprintf("the file has %s, and may have %s", pipeline.Size(info.Size()), pipeline.Size(limit.Bytes)))
	}
	loaded, err := l.workspace.LoadFile(ctx, name, transform.LookupFile{Path: path, Allow: l.Allow, Format: spec.Format, Columns: spec.Columns})
	if err == nil && loaded.Rows > limit.Rows {
		err = tooBig(fmt.Sprintf("it has %d rows, and may have %d", loaded.Rows, limit.Rows))
	}
	return loaded, err
}

func tooBig(what string) error {
	return job.WithClass(errors.New("too big: "+what), job.Permanent)
}

// origin is where the rows of a lookup come from that is no file of the workers.
type origin struct {
	columns []job.Column
	copy    func(ctx context.Context, to clickhouse.Snapshot) error
}

func (l *looking) origin(ctx context.Context, spec pipeline.Lookup) (origin, error) {
	switch spec.Kind() {
	case pipeline.LookupTable:
		if l.ClickHouse == nil {
			return origin{columns: spec.Columns}, nil
		}
		table, err := clickhouse.ParseTable(spec.Table, l.ClickHouse.Database())
		if err != nil {
			return origin{}, err
		}
		return l.selected(ctx, "SELECT * FROM "+table.SQL(), spec.Columns)
	case pipeline.LookupQuery:
		return l.selected(ctx, spec.Query, spec.Columns)
	}
	with := *l.pipeline
	with.Source, with.Incremental = *spec.Source, nil // all of it is read, every time
	src, err := kinds.New(&with, kinds.Env{Dir: l.doc.Dir, Custom: l.Custom, Allow: l.Allow})
	if err != nil {
		return origin{}, err
	}
	cols, err := src.Columns(ctx, l.engineOf(spec.Source))
	if err == nil {
		cols, err = l.workspace.Canonical(ctx, cols)
	}
	if err == nil && len(cols) == 0 {
		err = job.WithClass(errors.New("the source has no columns; declare them with columns"), job.Permanent)
	}
	if err != nil {
		return origin{}, err
	}
	r := &reader{Freezer: l.Freezer, source: src, columns: cols, declared: len(spec.Source.Columns) > 0}
	return origin{cols, r.copy}, nil
}

// selected is what a SELECT gives on the target's ClickHouse.
func (l *looking) selected(ctx context.Context, sel string, declared []job.Column) (origin, error) {
	if l.ClickHouse == nil {
		return origin{columns: declared}, nil
	}
	reach := l.reach()
	reach.Server = true
	if err := reach.Relation(ctx, "("+sel+"\n)"); err != nil {
		return origin{}, err
	}
	cols, err := l.ClickHouse.SelectColumns(ctx, sel)
	if err != nil {
		return origin{}, err
	}
	for _, d := range declared {
		if !slices.ContainsFunc(cols, func(c job.Column) bool { return c.Name == d.Name }) {
			return origin{}, job.WithClass(fmt.Errorf("there is no column %s; there are %s", d.Name, transform.Structure(cols)), job.Permanent)
		}
	}
	if len(declared) > 0 {
		if cols, err = l.workspace.Canonical(ctx, declared); err != nil {
			return origin{}, err
		}
	}
	return origin{cols, func(ctx context.Context, to clickhouse.Snapshot) error {
		return l.ClickHouse.FillSnapshot(ctx, to, sel, cols, len(declared) > 0, l.lookupLimit())
	}}, nil
}

// refused gives what is wrong with a lookup the place of its key.
func (l *looking) refused(name string, err error) error {
	key := "lookups." + name
	kind := l.pipeline.Lookups[name].Kind()
	var field *source.FieldError
	var syntax *clickhouse.SyntaxError
	switch {
	case errors.As(err, &field):
		at := key + ".source." + l.pipeline.Lookups[name].Source.Kind() + "." + field.Field
		if field.Field == "columns" || field.Field == "chunk" {
			at = key + ".source." + field.Field
		}
		return mistake(l.doc.At(at, field.Problem, field.Hint))
	case errors.As(err, &syntax) && kind == pipeline.LookupQuery:
		return mistake(l.doc.SQLError(key+".query", syntax.Line, syntax.Column, syntax.Error(), ""))
	case job.ClassOf(err) == job.Permanent, job.ClassOf(err) == job.TooBig:
		return mistake(l.doc.At(key+"."+kind, problem(err), hint(err)))
	}
	return fmt.Errorf("preparing the lookup %s: %w", name, err)
}

// dropCopies drops the tables of an attempt to freeze that came to nothing. One
// that stays, for ClickHouse is away, goes with the job's end or the sweep.
func (l *looking) dropCopies(ctx context.Context) {
	for _, s := range l.copied {
		_ = l.ClickHouse.DropSnapshot(ctx, s)
	}
}
