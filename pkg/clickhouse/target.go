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

// WindowError is a table that forgets its inserts too soon: the target, or one
// that a materialized view fills from it. Its class is job.Permanent.
type WindowError struct {
	Table      Table
	View       Table // the view that fills Table; zero when Table is the target
	Have, Want uint64
	Fix        string // the statement that widens the window
}

func (e *WindowError) Error() string {
	filled := ""
	if e.View != (Table{}) {
		filled = fmt.Sprintf(", which the view %s fills,", e.View)
	}
	return fmt.Sprintf("table %s%s remembers the last %d inserts, and must remember %d so that a repeated one adds no rows; run: %s", e.Table, filled, e.Have, e.Want, e.Fix)
}

// CheckTarget describes a table that exists and checks that out can be loaded
// into it exactly once and without changing a value. The error is ErrNoTable,
// or *EngineError, *MismatchError or *WindowError, or several of them joined:
// everything that is wrong, at once. The TableInfo is complete in these cases
// too. Tables that materialized views fill from it must have a window of their
// own, since a view is fed again when the target finds a duplicate; those whose
// engine can have none (Memory, …) are *EngineError. Tables without provenance columns, and engines that are not Countable,
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
	if e := c.windowOf(info, Table{}); e != nil {
		wrong = append(wrong, e)
	}
	behind, err := c.behindViews(ctx, what, t, map[Table]bool{t: true})
	if err != nil {
		return info, err
	}
	wrong = append(wrong, behind...)
	if len(wrong) > 0 {
		return info, job.WithClass(fmt.Errorf("%s: %w", what, errors.Join(wrong...)), job.Permanent)
	}
	return info, nil
}

// windowOf checks the window of one table.
func (c *Client) windowOf(info TableInfo, view Table) error {
	want := c.end.window
	if info.DedupWindow >= want {
		return nil
	}
	return &WindowError{info.Table, view, info.DedupWindow, want,
		fmt.Sprintf("ALTER TABLE %s MODIFY SETTING %s = %d", info.Table.SQL(), windowSetting(info.Engine), want)}
}

// behindViews checks the tables that materialized views fill from t, and those
// that views fill from them.
func (c *Client) behindViews(ctx context.Context, what string, t Table, seen map[Table]bool) (wrong []error, err error) {
	views, targets, err := c.views(ctx, what, t)
	if err != nil {
		return nil, err
	}
	for i, filled := range targets {
		if seen[filled] {
			continue
		}
		seen[filled] = true
		info, err := c.Describe(ctx, filled)
		switch {
		case errors.Is(err, ErrNoTable):
			continue // an insert will say so
		case err != nil:
			return nil, err
		case strings.HasSuffix(info.Engine, "MergeTree"):
			if e := c.windowOf(info, views[i]); e != nil {
				wrong = append(wrong, e)
			}
		case info.Engine != "Null":
			wrong = append(wrong, &EngineError{filled, info.Engine})
		}
		more, err := c.behindViews(ctx, what, filled, seen)
		if err != nil {
			return nil, err
		}
		wrong = append(wrong, more...)
	}
	return wrong, nil
}

// views lists the materialized views that an insert into t feeds, and the
// tables they fill.
func (c *Client) views(ctx context.Context, what string, t Table) (views, targets []Table, err error) {
	err = c.rows(ctx, what, `SELECT v.database, v.name, toString(v.uuid), v.create_table_query FROM system.tables AS v
WHERE v.engine = 'MaterializedView' AND (v.database, v.name) IN
(SELECT d, n FROM system.tables ARRAY JOIN dependencies_database AS d, dependencies_table AS n
 WHERE database = `+quoteString(t.Database)+` AND name = `+quoteString(t.Name)+`)
ORDER BY v.database, v.name`, func(scan scanner) error {
		var view Table
		var uuid, create string
		if err := scan(&view.Database, &view.Name, &uuid, &create); err != nil {
			return err
		}
		if !refreshed(create) {
			views, targets = append(views, view), append(targets, filledBy(view, uuid, create))
		}
		return nil
	})
	return views, targets, err
}

// refreshed reports whether a materialized view is filled by a schedule, and
// not by inserts.
func refreshed(create string) bool {
	for _, tok := range tokens(create) {
		switch {
		case tok.depth > 0:
		case tok.is("AS"):
			return false // its SELECT
		case tok.is("REFRESH"):
			return true
		}
	}
	return false
}

// filledBy is the table that a materialized view fills: the one after TO, or
// one of its own.
func filledBy(view Table, uuid, create string) Table {
	all := tokens(create)
	for i, tok := range all {
		if tok.depth > 0 || tok.quoted {
			continue
		}
		if tok.is("AS") {
			break // its SELECT
		}
		if tok.is("TO") && i+3 < len(all) && all[i+2].text == "." {
			if t, err := ParseTable(all[i+1].text+"."+all[i+3].text, view.Database); err == nil {
				return t
			}
		}
	}
	if uuid == "00000000-0000-0000-0000-000000000000" {
		return Table{view.Database, ".inner." + view.Name}
	}
	return Table{view.Database, ".inner_id." + uuid}
}

func (c *Client) compare(ctx context.Context, what string, info TableInfo, out []job.Column) (*MismatchError, error) {
	m := &MismatchError{Table: info.Table}
	given := map[string]bool{job.JobColumn: true, job.ChunkColumn: true}
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
