package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"drayage/pkg/job"
)

// CreateSpec says what table to make.
type CreateSpec struct {
	Table Table
	// Columns of the output. The provenance columns are added, unless the
	// engine merges rows away: it would merge them too.
	Columns []job.Column
	// Engine is the user's text after the columns: "ENGINE = MergeTree ORDER
	// BY (…)", with PARTITION BY, TTL, SETTINGS, COMMENT as they like.
	Engine string
	// DedupWindow is set when the user's text does not; 0: the Client's.
	DedupWindow uint64
}

// Create makes the database and the table where they are not there yet. Any
// number of callers may do it at once. A table that exists is left alone,
// whatever it is like: CheckTarget tells. An engine that does not deduplicate
// is an *EngineError; a *SyntaxError has its place in spec.Engine.
func (c *Client) Create(ctx context.Context, spec CreateSpec) error {
	t := c.qualify(spec.Table)
	what := "creating table " + t.String()
	engine := engineOf(spec.Engine)
	if engine != "" && !strings.HasSuffix(engine, "MergeTree") {
		return job.WithClass(fmt.Errorf("%s: %w", what, &EngineError{t, engine}), job.Permanent)
	}
	window := spec.DedupWindow
	setDefault(&window, c.end.window)
	if err := c.exec(ctx, "creating database "+plainOrQuoted(t.Database), "", "CREATE DATABASE IF NOT EXISTS "+quoteName(t.Database)); err != nil {
		return err
	}

	var b strings.Builder
	b.WriteString("CREATE TABLE IF NOT EXISTS " + t.SQL() + " (")
	columns := spec.Columns
	if keepsRows(engine) {
		columns = append(slices.Clone(columns), job.Provenance()...)
	}
	for i, col := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoteName(col.Name) + " " + col.Type)
	}
	b.WriteString(")\n")
	prefix := b.Len()
	text := strings.TrimRight(spec.Engine, " \t\r\n;")
	b.WriteString(text)
	_, given := settingOf(text, windowSetting(engine))
	setting := fmt.Sprintf("%s = %d", windowSetting(engine), window)
	// Only at the very end can a clause be added; the user's text may end in
	// SETTINGS or COMMENT, or in a comment.
	later := !given && (hasWord(text, "SETTINGS") || hasWord(text, "COMMENT"))
	if !given && !later {
		b.WriteString("\nSETTINGS " + setting)
	}
	if err := c.exec(ctx, what, "", b.String()); err != nil {
		return syntax(what, err, text, prefix)
	}
	if later {
		// Whoever created the table, nobody loads before this is done.
		info, err := c.Describe(ctx, t)
		if err != nil {
			return err
		}
		if info.DedupWindow < window && replicated(info.Engine) == replicated(engine) {
			return c.exec(ctx, "setting the deduplication window of "+t.String(), "", "ALTER TABLE "+t.SQL()+" MODIFY SETTING "+setting)
		}
	}
	return nil
}
