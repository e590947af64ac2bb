package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"drayage/pkg/job"
)

// EngineError is a table whose engine forgets which inserts it has seen, so
// that nothing can be loaded into it exactly once. Its class is job.Permanent.
type EngineError struct {
	Table  Table
	Engine string
}

func (e *EngineError) Error() string {
	why := "it does not deduplicate inserts"
	switch e.Engine {
	case "Distributed":
		why = "it passes rows on in the background; load into the table on the shards"
	case "Buffer":
		why = "it keeps rows in memory; load into the table behind it"
	case "View", "MaterializedView", "LiveView", "WindowView":
		why = "a view is no target; load into the table behind it"
	case "Null":
		why = "it keeps no row"
	}
	return fmt.Sprintf("table %s has the engine %s, and can not be loaded exactly once: %s. Use an engine of the MergeTree family", e.Table, e.Engine, why)
}

// TypeDifference is a column whose values would have to change to fit.
type TypeDifference struct{ Column, Output, Table string }

// MismatchError lists everything in which the output does not fit the table.
// Its class is job.Permanent.
type MismatchError struct {
	Table    Table
	Unknown  []string         // output columns that the table does not have
	Computed []string         // output columns that the table computes itself (MATERIALIZED, ALIAS)
	Missing  []string         // table columns without a default that the output lacks
	Types    []TypeDifference // output values that the column's type can not hold without loss
	Twice    []string         // output columns named more than once
}

func (e *MismatchError) Error() string {
	var parts []string
	add := func(names []string, text string) {
		if len(names) > 0 {
			parts = append(parts, text+" "+quoteNames(names))
		}
	}
	add(e.Unknown, "it has no column")
	add(e.Computed, "it computes by itself")
	add(e.Missing, "without a default and not in the output:")
	add(e.Twice, "more than once in the output:")
	for _, d := range e.Types {
		parts = append(parts, fmt.Sprintf("%s is %s in the output and %s in the table, which can not hold every such value: convert it in the SELECT, for example with accurateCastOrNull or toString", quoteName(d.Column), d.Output, d.Table))
	}
	return fmt.Sprintf("the output does not fit table %s: %s", e.Table, strings.Join(parts, "; "))
}

// WindowError is a table that forgets its inserts too soon. Its class is
// job.Permanent.
type WindowError struct {
	Table      Table
	Have, Want uint64
	Fix        string // the statement that widens the window
}

func (e *WindowError) Error() string {
	return fmt.Sprintf("table %s remembers the last %d inserts, and must remember %d so that a repeated one adds no rows; run: %s", e.Table, e.Have, e.Want, e.Fix)
}

// CheckTarget describes a table that exists and checks that out can be loaded
// into it exactly once and without changing a value. The error is ErrNoTable,
// or *EngineError, *MismatchError or *WindowError, or several of them joined:
// everything that is wrong, at once. The TableInfo is complete in these cases
// too. Tables without provenance columns, and engines that are not Countable,
// pass: what they are worth is the caller's to say.
func (c *Client) CheckTarget(ctx context.Context, t Table, out []job.Column) (TableInfo, error) {
	info, err := c.Describe(ctx, t)
	if err != nil {
		return info, err
	}
	t = info.Table
	what := "checking table " + t.String()
	if !strings.HasSuffix(info.Engine, "MergeTree") {
		return info, job.WithClass(fmt.Errorf("%s: %w", what, &EngineError{t, info.Engine}), job.Permanent)
	}
	var wrong []error
	mismatch, err := c.compare(ctx, what, info, out)
	if err != nil {
		return info, err
	}
	if mismatch != nil {
		wrong = append(wrong, mismatch)
	}
	if want := c.end.window; info.DedupWindow < want {
		wrong = append(wrong, &WindowError{t, info.DedupWindow, want,
			fmt.Sprintf("ALTER TABLE %s MODIFY SETTING %s = %d", t.SQL(), windowSetting(info.Engine), want)})
	}
	if len(wrong) > 0 {
		return info, job.WithClass(fmt.Errorf("%s: %w", what, errors.Join(wrong...)), job.Permanent)
	}
	return info, nil
}

func (c *Client) compare(ctx context.Context, what string, info TableInfo, out []job.Column) (*MismatchError, error) {
	m := &MismatchError{Table: info.Table}
	given := map[string]bool{JobColumn: true, ChunkColumn: true}
	for _, o := range out {
		if given[o.Name] {
			m.Twice = append(m.Twice, o.Name)
			continue
		}
		given[o.Name] = true
		col := info.Column(o.Name)
		switch {
		case col == nil:
			m.Unknown = append(m.Unknown, o.Name)
		case !col.insertable():
			m.Computed = append(m.Computed, o.Name)
		default:
			fits, err := c.fits(ctx, what, o.Type, col.Type)
			if err != nil {
				return nil, err
			}
			if !fits {
				m.Types = append(m.Types, TypeDifference{o.Name, o.Type, col.Type})
			}
		}
	}
	for _, col := range info.Columns {
		if col.DefaultKind == "" && !given[col.Name] {
			m.Missing = append(m.Missing, col.Name)
		}
	}
	if len(m.Twice)+len(m.Unknown)+len(m.Computed)+len(m.Missing)+len(m.Types) == 0 {
		return nil, nil
	}
	return m, nil
}

// fits reports whether a column of type to holds every value of type from.
// ClickHouse itself is asked: it does when to is what the two have in common.
// The server would convert other types as well, when the block is inserted:
// 300 into UInt8 becomes 44 there without a word.
func (c *Client) fits(ctx context.Context, what, from, to string) (bool, error) {
	from, to = bareType(from), bareType(to)
	if from == to {
		return true, nil
	}
	var common string
	err := c.rows(ctx, what, "SELECT toTypeName([defaultValueOfTypeName("+quoteString(to)+"), defaultValueOfTypeName("+quoteString(from)+")])", func(scan scanner) error {
		return scan(&common)
	})
	var x *Exception
	if errors.As(err, &x) && ClassOf(x) == job.Permanent {
		return false, nil // no common type, or a type with no default
	}
	if err != nil {
		return false, err
	}
	return common == "Array("+to+")", nil
}
