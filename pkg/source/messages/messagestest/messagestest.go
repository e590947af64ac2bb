// Package messagestest is what the tests of the sources of messages share.
package messagestest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
)

// Source is a source of messages.
type Source interface {
	source.Source
	source.Splitter
	source.Incremental
}

// ColumnN is the column of Numbered.
var ColumnN = []job.Column{{Name: "n", Type: "Int64"}}

// Numbered are the messages {"n":from} up to and without {"n":to}.
func Numbered(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf(`{"n":%d}`, i))
	}
	return all
}

// Load plans and reads everything, as lines.
func Load(t *testing.T, s source.Source, columns []job.Column) (lines []string, chunks []source.Planned) {
	t.Helper()
	chunks, err := sourcetest.Plan(t, s, nil, columns)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, c := range chunks {
		text, err := sourcetest.Chunk(t, s, c.Input, columns)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(text)
	}
	if all.Len() == 0 {
		return nil, chunks
	}
	return strings.Split(strings.TrimSuffix(all.String(), "\n"), "\n"), chunks
}

// Once checks that every message is read once, that the plan goes on from each of
// its cursors with the same chunks though messages came in the meantime, which is
// what arrive is for, and that halves are the whole. It returns the chunks.
func Once(t *testing.T, s Source, want []string, arrive func()) []source.Planned {
	t.Helper()
	lines, chunks := Load(t, s, ColumnN)
	if !slices.Equal(lines, want) {
		t.Errorf("read %v", lines)
	}
	arrive()
	for i, ch := range chunks {
		if rest, err := sourcetest.Plan(t, s, ch.Cursor, ColumnN); err != nil || fmt.Sprint(rest) != fmt.Sprint(chunks[i+1:]) {
			t.Errorf("after chunk %d come %v (%v)", i, rest, err)
		}
		whole, err := sourcetest.Chunk(t, s, ch.Input, ColumnN)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := s.Split(t.Context(), ch.Input, ColumnN)
		if err != nil {
			t.Fatal(err)
		}
		halves := ""
		for _, p := range parts {
			half, err := sourcetest.Chunk(t, s, p.Input, ColumnN)
			if err != nil {
				t.Fatal(err)
			}
			halves += half
		}
		if halves != whole || len(parts) != 2 {
			t.Errorf("chunk %d: the halves are %q, the whole is %q", i, halves, whole)
		}
	}
	return chunks
}

// Follow checks that jobs that follow each other read every message once, and that
// each reads the same when it is planned again. made returns the source of a job
// with bounds; send sends something for the job after it.
func Follow(t *testing.T, made func(bounds json.RawMessage) Source, send func(round int), want []string) {
	t.Helper()
	var state json.RawMessage
	var all []string
	for round := range 3 {
		bounds, next, err := made(nil).Bounds(t.Context(), state)
		if err != nil {
			t.Fatal(err)
		}
		send(round)
		s := made(bounds)
		lines, chunks := Load(t, s, ColumnN)
		for i, ch := range chunks {
			if rest, err := sourcetest.Plan(t, s, ch.Cursor, nil); err != nil || fmt.Sprint(rest) != fmt.Sprint(chunks[i+1:]) {
				t.Errorf("round %d: after chunk %d come %v (%v)", round, i, rest, err)
			}
		}
		all, state = append(all, lines...), next
	}
	if !slices.Equal(all, want) {
		t.Errorf("read %v", all)
	}
}

// Gone checks that a chunk can not be opened, and a job can not follow, with an
// error that is want and says a text, after something has happened; nil: they can.
func Gone(t *testing.T, s Source, send func(values ...string), meanwhile func(), want error, says string) {
	t.Helper()
	send(Numbered(0, 5)...)
	_, state, err := s.Bounds(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	send(Numbered(5, 10)...)
	_, chunks := Load(t, s, ColumnN)
	meanwhile()
	_, opening := sourcetest.Chunk(t, s, chunks[0].Input, ColumnN)
	_, _, following := s.Bounds(t.Context(), state)
	for doing, err := range map[string]error{"opening": opening, "following": following} {
		if !errors.Is(err, want) || want != nil && (job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v", doing, err)
		}
	}
}

// Empty checks what is read of nothing: without columns that are declared an error
// that says to declare them, and no chunk with ColumnN.
func Empty(t *testing.T, eng source.Engine, undeclared, declared source.Source) {
	t.Helper()
	if _, err := undeclared.Columns(t.Context(), eng); job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), "declare columns") {
		t.Errorf("the error is %v", err)
	}
	if got, err := declared.Columns(t.Context(), eng); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if lines, chunks := Load(t, declared, ColumnN); len(lines)+len(chunks) != 0 {
		t.Errorf("%d chunks", len(chunks))
	}
}
