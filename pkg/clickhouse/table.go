package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"drayage/pkg/job"
)

// Table names a table. Both parts are plain names, unquoted.
type Table struct{ Database, Name string }

// ParseTable reads "table" or "database.table". A part with a dot or another
// special character is quoted as in SQL: `a.b`."c d". The default database
// stands for a missing one.
func ParseTable(text, database string) (Table, error) {
	parts, err := splitName(text)
	if err != nil {
		return Table{}, job.WithClass(fmt.Errorf("table name %q: %w", text, err), job.Permanent)
	}
	switch len(parts) {
	case 1:
		return Table{database, parts[0]}, nil
	case 2:
		return Table{parts[0], parts[1]}, nil
	}
	return Table{}, job.WithClass(fmt.Errorf("table name %q: it must be table or database.table; quote a name that holds a dot with backticks", text), job.Permanent)
}

// String returns the name as ParseTable reads it, quoted where it must be.
func (t Table) String() string {
	if t.Database == "" {
		return plainOrQuoted(t.Name)
	}
	return plainOrQuoted(t.Database) + "." + plainOrQuoted(t.Name)
}

// MarshalText writes the name as String does, for JSON.
func (t Table) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *Table) UnmarshalText(text []byte) error {
	parsed, err := ParseTable(string(text), "")
	if err == nil {
		*t = parsed
	}
	return err
}

// SQL returns the name quoted for a statement.
func (t Table) SQL() string {
	if t.Database == "" {
		return quoteName(t.Name)
	}
	return quoteName(t.Database) + "." + quoteName(t.Name)
}

// Column is a column of a table.
type Column struct {
	Name, Type  string
	DefaultKind string // "", DEFAULT, MATERIALIZED, ALIAS or EPHEMERAL
	// Key is the key of the table that the column is in: partition, primary,
	// sorting or sampling, the first of these; "" when it is in none.
	Key string
}

// insertable reports whether an INSERT may name the column.
func (c Column) insertable() bool {
	return c.DefaultKind != "MATERIALIZED" && c.DefaultKind != "ALIAS"
}

// TableInfo is what a table is like at the moment it was asked.
type TableInfo struct {
	Table        Table
	Columns      []Column // in the table's order
	Engine       string   // MergeTree, ReplacingMergeTree, …
	EngineFull   string   // with its arguments, the keys and the settings, as the server writes it
	SortingKey   string
	PartitionKey string
	// DedupWindow is how many inserts the table remembers by token; 0 means
	// that it deduplicates nothing.
	DedupWindow uint64
	Replicated  bool   // a Replicated or Shared engine: the window is shared by the replicas
	UUID        string // changes when the table is dropped and made again
	// Views are the materialized views that are fed by inserts into the
	// table, those of its own and not those of the tables they fill.
	Views []Table
	// Projections is true when parts of the table have projections.
	Projections bool
}

// HasProvenance reports whether rows of the table can say which chunk they
// came from.
func (i TableInfo) HasProvenance() bool {
	j, c := i.Column(job.JobColumn), i.Column(job.ChunkColumn)
	return j != nil && c != nil && j.insertable() && c.insertable() &&
		bareType(j.Type) == "String" && (bareType(c.Type) == "UInt32" || bareType(c.Type) == "UInt64")
}

// Countable reports whether the table keeps every row that was inserted, so
// that counting proves something. Engines that merge rows away (Replacing,
// Summing, Aggregating, Collapsing, Graphite, …) do not, nor do tables with a TTL
// that deletes: rows that are old when they arrive are gone at once.
func (i TableInfo) Countable() bool {
	return keepsRows(i.Engine, i.EngineFull)
}

func keepsRows(engine, clause string) bool {
	return !expires(clause) && strings.TrimPrefix(strings.TrimPrefix(engine, "Replicated"), "Shared") == "MergeTree"
}

// Column returns the column of that name, or nil.
func (i TableInfo) Column(name string) *Column {
	for n := range i.Columns {
		if i.Columns[n].Name == name {
			return &i.Columns[n]
		}
	}
	return nil
}

// windowSetting is the table setting that holds the deduplication window.
func windowSetting(engine string) string {
	if replicated(engine) {
		return "replicated_deduplication_window"
	}
	return "non_replicated_deduplication_window"
}

func replicated(engine string) bool {
	return strings.HasPrefix(engine, "Replicated") || strings.HasPrefix(engine, "Shared")
}

// ErrNoTable: the table does not exist. Its class is job.Permanent.
var ErrNoTable = errors.New("no such table")

// Describe asks what the table is like. The error is ErrNoTable when there is
// no such table or no such database.
func (c *Client) Describe(ctx context.Context, t Table) (TableInfo, error) {
	t = c.qualify(t)
	what := "describing table " + t.String()
	info := TableInfo{Table: t}
	var create string
	found := false
	err := c.rows(ctx, what, `SELECT engine, engine_full, create_table_query, sorting_key, partition_key, toString(uuid)
FROM system.tables WHERE database = `+quoteString(t.Database)+` AND name = `+quoteString(t.Name), func(scan scanner) error {
		found = true
		return scan(&info.Engine, &info.EngineFull, &create, &info.SortingKey, &info.PartitionKey, &info.UUID)
	})
	if err != nil {
		return TableInfo{}, err
	}
	if !found {
		return TableInfo{}, job.WithClass(fmt.Errorf("%s: %w", what, ErrNoTable), job.Permanent)
	}
	info.Replicated = replicated(info.Engine)
	info.Projections = hasProjection(create)
	if info.Views, _, err = c.views(ctx, what, t); err != nil {
		return TableInfo{}, err
	}
	err = c.rows(ctx, what, `SELECT name, type, default_kind,
multiIf(is_in_partition_key, 'partition', is_in_primary_key, 'primary', is_in_sorting_key, 'sorting', is_in_sampling_key, 'sampling', '') FROM system.columns
WHERE database = `+quoteString(t.Database)+` AND table = `+quoteString(t.Name)+` ORDER BY position`, func(scan scanner) error {
		var col Column
		err := scan(&col.Name, &col.Type, &col.DefaultKind, &col.Key)
		info.Columns = append(info.Columns, col)
		return err
	})
	if err != nil {
		return TableInfo{}, err
	}
	if !strings.HasSuffix(info.Engine, "MergeTree") {
		return info, nil // it has no window
	}
	name := windowSetting(info.Engine)
	if n, ok := settingOf(info.EngineFull, name); ok {
		info.DedupWindow = n
		return info, nil
	}
	from := "system.merge_tree_settings"
	if info.Replicated {
		from = "system.replicated_merge_tree_settings"
	}
	err = c.rows(ctx, what, `SELECT toUInt64OrZero(value) FROM `+from+` WHERE name = `+quoteString(name), func(scan scanner) error {
		return scan(&info.DedupWindow)
	})
	return info, err
}

// qualify fills in the default database.
func (c *Client) qualify(t Table) Table {
	setDefault(&t.Database, c.end.database)
	return t
}
