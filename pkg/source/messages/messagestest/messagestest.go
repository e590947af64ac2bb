// Package messagestest is what the tests of the sources of messages share.
package messagestest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
)

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
func Once(t *testing.T, s interface {
	source.Source
	source.Splitter
}, want []string, arrive func()) []source.Planned {
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
