package transform

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"drayage/pkg/engine"
	"drayage/pkg/job"
)

// SQLError is a mistake in a pipeline's SELECT. Line and Column are counted
// from 1 within the SELECT, 0 when the engine named no place.
type SQLError struct {
	Line, Column int
	Problem      string
	Hint         string
}

func (e *SQLError) Error() string {
	if e.Line == 0 {
		return e.Problem
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Problem)
}

// Checked is what Check found out about a SELECT.
type Checked struct {
	Columns []job.Column // of its result
	Rereads bool         // it names its input more than once
}

// Check parses sel and computes its columns over an input of the given
// columns, without reading any input. It refuses what would not give the same
// rows at every attempt, and what reads anything but the input and the lookups. Mistakes are of type *SQLError.
func Check(ctx context.Context, w Workspace, sel string, cols []job.Column) (c Checked, err error) {
	nodes, err := parse(ctx, w.eng, w.Database, sel)
	if err != nil {
		return c, place(err, sel, 1)
	}
	var functions []string
	inputs := 0
	for _, n := range nodes {
		switch {
		case n.kind == "Function":
			functions = append(functions, n.word())
		case strings.HasSuffix(n.kind, "Identifier") && n.word() == Chunk:
			inputs++
		}
	}
	c.Rereads = inputs > 1
	if len(nodes) > 0 && !strings.HasPrefix(nodes[0].kind, "Select") {
		return c, &SQLError{Line: 1, Column: 1, Problem: "the transformation is not a SELECT", Hint: "write SELECT … FROM chunk; dray makes the INSERT around it"}
	}
	// Before anything is asked that the engine would look into.
	if err := w.sealed(ctx, nodes, sel); err != nil {
		return c, err
	}
	if err := w.deterministic(ctx, functions, sel); err != nil {
		return c, err
	}
	c.Columns, err = w.describe(ctx, Relation(sel, Nothing(cols)))
	if err != nil {
		return c, place(err, sel, 0)
	}
	return c, w.resolved(ctx, sel, cols)
}

// describe returns the columns of a relation, as seen from the workspace.
func (w Workspace) describe(ctx context.Context, relation string) ([]job.Column, error) {
	var cols []job.Column
	err := w.eng.Rows(ctx, engine.Statement{
		SQL: "DESCRIBE TABLE " + relation, Database: w.Database,
		Settings: map[string]string{"describe_compact_output": "1", "session_timezone": "UTC", "print_pretty_type_names": "0"},
	}, &cols)
	return cols, err
}

// deterministic refuses functions whose value differs from one run to the
// next: a chunk that is tried again must give the same rows.
func (w Workspace) deterministic(ctx context.Context, functions []string, sel string) error {
	if len(functions) == 0 {
		return nil
	}
	quoted := make([]string, len(functions))
	for i, f := range functions {
		quoted[i] = Literal(f)
	}
	var bad []struct {
		Name string `json:"name"`
	}
	list := strings.Join(quoted, ", ")
	err := w.eng.Rows(ctx, engine.Statement{SQL: fmt.Sprintf(
		"SELECT name FROM system.functions WHERE NOT deterministic AND (name IN (%s) OR (case_insensitive AND lower(name) IN (%s))) ORDER BY name",
		list, strings.ToLower(list))}, &bad)
	if err != nil {
		return fmt.Errorf("asking the engine for its functions: %w", err)
	}
	bad = slices.DeleteFunc(bad, func(f struct {
		Name string `json:"name"`
	}) bool {
		return harmless[f.Name]
	})
	if len(bad) == 0 {
		return nil
	}
	e := &SQLError{
		Problem: fmt.Sprintf("%s() gives another value at every attempt, so a chunk that is tried again would load other rows", bad[0].Name),
		Hint:    "use a parameter, or ${job_time} for the time the job was created",
	}
	e.find(sel, regexp.MustCompile(`(?i)\b`+regexp.QuoteMeta(bad[0].Name)+`\s*\(`))
	return e
}

// harmless are functions that the engine calls not deterministic and that give
// the same value at every attempt of a chunk all the same: they depend on the
// configuration of an engine that is ours, or on the contents of lookups that
// are loaded before. arrayJoin gives many rows for one, always the same.
var harmless = map[string]bool{
	"joinGet": true, "joinGetOrNull": true, "version": true, "timezone": true,
	"getSetting": true, "getSettingOrDefault": true, "arrayJoin": true,
}

var (
	position   = regexp.MustCompile(`\(line (\d+), col (\d+)\)`)
	identifier = regexp.MustCompile("identifier `([^`]+)`")
)

// find places the mistake where what stands in sel, if it does.
func (e *SQLError) find(sel string, what *regexp.Regexp) {
	if at := what.FindStringIndex(sel); at != nil {
		before := sel[:at[0]]
		e.Line = strings.Count(before, "\n") + 1
		e.Column = len(before) - strings.LastIndexByte(before, '\n')
	}
}

// place turns the engine's refusal of a statement into a mistake of the
// SELECT sel, which began below skip lines. Other errors are returned as they
// are. The engine names a place for what does not parse; of an unknown name it
// says only the name, which is looked for.
func place(err error, sel string, skip int) error {
	var ex *engine.Exception
	if !errors.As(err, &ex) || job.ClassOf(err) != job.Permanent {
		return fmt.Errorf("checking the SELECT in the engine: %w", err)
	}
	e := &SQLError{Problem: ex.Message}
	if m := position.FindStringSubmatch(ex.Message); m != nil {
		line, _ := strconv.Atoi(m[1])
		e.Line = line - skip
		e.Column, _ = strconv.Atoi(m[2])
	} else if m := identifier.FindStringSubmatch(ex.Message); m != nil {
		e.find(sel, regexp.MustCompile(`\b`+regexp.QuoteMeta(m[1])+`\b`))
	}
	return e
}

// Baseline is the number of rows that a SELECT reads over no input: those of
// the lookups. What a chunk reads beyond it are rows of the input. It also
// finds the mistakes that only a run finds; they are of type *SQLError.
func Baseline(ctx context.Context, w Workspace, sel string, cols []job.Column, out Output) (uint64, error) {
	sum, err := w.eng.Exec(ctx, engine.Statement{
		SQL:      Discard(Select(sel, Nothing(cols), out), append(slices.Clone(out.Columns), provenance(out)...)),
		Database: w.Database, Settings: OneBlock(),
	})
	if err != nil {
		return 0, place(err, sel, 0)
	}
	return sum.ReadRows, nil
}

func provenance(out Output) []job.Column {
	if !out.Provenance {
		return nil
	}
	return job.Provenance()
}
