package clickhouse

import (
	"fmt"
	"slices"
	"strings"

	"drayage/pkg/job"
)

// UpsertError is a table, or an output, of which rows can not replace older
// rows with the same key. Its class is job.Permanent.
type UpsertError struct {
	Table  Table
	Engine string
	// Version is the column that says which row is newer; "" when the engine
	// has none.
	Version string
}

func (e *UpsertError) Error() string {
	switch {
	case !replacing(e.Engine):
		return fmt.Sprintf("table %s has the engine %s, which keeps every row: to replace rows with the same key it must be ReplacingMergeTree(version)", e.Table, e.Engine)
	case e.Version == "":
		return fmt.Sprintf("table %s has the engine %s without a version column: which of two rows with the same key stays would depend on the order in which chunks arrive; make it %s(version)", e.Table, e.Engine, e.Engine)
	}
	return fmt.Sprintf("the output has no column %s, by which table %s decides which of two rows with the same key is newer: add it to the SELECT", quoteName(e.Version), e.Table)
}

func replacing(engine string) bool {
	return strings.TrimPrefix(strings.TrimPrefix(engine, "Replicated"), "Shared") == "ReplacingMergeTree"
}

// Version returns the column by which a table of a Replacing engine decides
// which of the rows with the same key stays; false when the engine is another,
// or has no such column.
func (i TableInfo) Version() (column string, ok bool) {
	if !replacing(i.Engine) {
		return "", false
	}
	all := tokens(i.EngineFull)
	if len(all) < 3 || all[1].text != "(" {
		return "", false
	}
	for _, t := range all[2:] {
		switch {
		case t.depth == 0: // the closing bracket
			return "", false
		case t.text[0] == '\'', t.text == ",": // the path and the name of a replica
		case t.quoted:
			return unquote(t.text), true
		default:
			return t.text, true
		}
	}
	return "", false
}

// CheckUpsert checks that rows of out can replace older ones: the engine is
// Replacing, with a version column, which is in out. The error is
// *UpsertError.
func (i TableInfo) CheckUpsert(out []job.Column) error {
	version, ok := i.Version()
	if ok && slices.ContainsFunc(out, func(c job.Column) bool { return c.Name == version }) {
		return nil
	}
	return job.WithClass(fmt.Errorf("checking table %s: %w", i.Table, &UpsertError{i.Table, i.Engine, version}), job.Permanent)
}
