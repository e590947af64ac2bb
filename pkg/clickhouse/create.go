package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"drayage/pkg/job"
)

// CreateSpec says what table to make: either with a whole clause in Engine, or
// with the name of an engine and the parts of the clause. Expressions are SQL,
// as their author wrote it.
type CreateSpec struct {
	Table Table
	// Columns of the output. The provenance columns are added, unless the
	// engine merges rows away, or a TTL deletes them: nothing could be counted.
	Columns []job.Column
	// Engine is the user's text after the columns: "ENGINE = MergeTree ORDER
	// BY (…)", with PARTITION BY, TTL, SETTINGS, COMMENT as they like. Beside
	// parts it is an engine alone, "ReplacingMergeTree(version)"; "" is
	// MergeTree.
	Engine string
	// The parts. OrderBy must be there when any of them is; "tuple()" sorts by
	// nothing.
	OrderBy, PartitionBy, TTL string
	// Settings of the table. A value that is not a number goes as a string.
	Settings map[string]string
	// Codecs by the name of a column: "Delta, ZSTD(3)".
	Codecs map[string]string
	// OnCluster is the cluster on whose servers the table is made, "" for the
	// one that is asked.
	OnCluster string
	// DedupWindow is set when the user's text does not; 0: the Client's.
	DedupWindow uint64
}

// Create makes the database and the table where they are not there yet. Any
// number of callers may do it at once. A table that exists is left alone,
// whatever it is like: CheckTarget tells. An engine that does not deduplicate
// is an *EngineError; a *SyntaxError has its place in spec.Engine when that is
// a whole clause; a *ClauseError names the field of a spec that contradicts
// itself.
func (c *Client) Create(ctx context.Context, spec CreateSpec) error {
	t := c.qualify(spec.Table)
	spec.Table = t
	setDefault(&spec.DedupWindow, c.end.window)
	what := "creating table " + t.String()
	made, err := spec.statement()
	if err != nil {
		return job.WithClass(fmt.Errorf("%s: %w", what, err), job.Permanent)
	}
	if err := c.exec(ctx, "creating database "+plainOrQuoted(t.Database), "", "CREATE DATABASE IF NOT EXISTS "+quoteName(t.Database)+onCluster(spec.OnCluster)); err != nil {
		return err
	}
	if err := c.exec(ctx, what, "", made.sql); err != nil {
		return syntax(what, err, made.text, made.prefix)
	}
	if made.widen == "" {
		return nil
	}
	// Whoever created the table, nobody loads before this is done.
	info, err := c.Describe(ctx, t)
	if err != nil {
		return err
	}
	if info.DedupWindow < spec.DedupWindow && info.Replicated == replicated(made.engine) {
		return c.exec(ctx, "setting the deduplication window of "+t.String(), "", made.widen)
	}
	return nil
}

// creation is the statement that makes a table.
type creation struct {
	sql    string
	engine string
	// text is what the user wrote as a whole clause, and prefix where it
	// begins in sql.
	text   string
	prefix int
	// widen is a statement that sets the deduplication window afterwards, ""
	// when sql does so.
	widen string
}

// SQL is the statement that Create runs, up to the end of what the user wrote.
func (s CreateSpec) SQL() (string, error) {
	made, err := s.statement()
	if err == nil && made.text != "" {
		return made.sql[:made.prefix+len(made.text)], nil
	}
	return made.sql, err
}

func (s CreateSpec) statement() (creation, error) {
	text, whole, err := s.clause()
	if err != nil {
		return creation{}, err
	}
	made := creation{engine: engineOf(text)}
	if made.engine != "" && !strings.HasSuffix(made.engine, "MergeTree") {
		return creation{}, &EngineError{s.Table, made.engine}
	}
	columns := s.Columns
	if keepsRows(made.engine, text) {
		columns = append(slices.Clone(columns), job.Provenance()...)
	}
	if err := s.checkCodecs(columns); err != nil {
		return creation{}, err
	}
	var b strings.Builder
	b.WriteString("CREATE TABLE IF NOT EXISTS " + s.Table.SQL() + onCluster(s.OnCluster) + " (")
	for i, col := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoteName(col.Name) + " " + col.Type)
		if codec := s.Codecs[col.Name]; codec != "" {
			b.WriteString(" CODEC(" + codec + ")")
		}
	}
	b.WriteString(")\n")
	made.prefix = b.Len()
	b.WriteString(text)
	if whole {
		made.text = text
	} else {
		made.prefix += len(text) + 1 // no place in the statement is one of the user's text
	}
	_, given := settingOf(text, windowSetting(made.engine))
	setting := fmt.Sprintf("%s = %d", windowSetting(made.engine), s.DedupWindow)
	switch {
	case given:
	// Only at the very end can a clause be added; the user's text may end in
	// SETTINGS or COMMENT, or in a comment.
	case hasWord(text, "SETTINGS") || hasWord(text, "COMMENT"):
		made.widen = "ALTER TABLE " + s.Table.SQL() + onCluster(s.OnCluster) + " MODIFY SETTING " + setting
	default:
		b.WriteString("\nSETTINGS " + setting)
	}
	made.sql = b.String()
	return made, nil
}

// onCluster is the clause for the name of a cluster, which may be "".
func onCluster(name string) string {
	if name == "" {
		return ""
	}
	return " ON CLUSTER " + quoteString(name) // a string, so that macros are filled in
}
