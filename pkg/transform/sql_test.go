package transform_test

import (
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/transform"
)

var odd = []job.Column{{Name: "a b", Type: "String"}, {Name: "c`d\\e", Type: "Decimal(10, 2)"}}

func TestNames(t *testing.T) {
	if got, want := transform.Structure(odd), "`a b` String, `c\\`d\\\\e` Decimal(10, 2)"; got != want {
		t.Errorf("structure is %s, want %s", got, want)
	}
	if got, want := transform.Literal(`it's a \`), `'it\'s a \\'`; got != want {
		t.Errorf("literal is %s, want %s", got, want)
	}
}

// The columns of the input are selected in the job's order whatever the file's
// is, only those whose type changes are converted, and rows say where they
// come from.
func TestSelect(t *testing.T) {
	cols := []job.Column{{Name: "id", Type: "UInt8"}, {Name: "s", Type: "String"}}
	in := transform.File("/p", "CSV", "", []job.Column{cols[1], cols[0]}, cols)
	out := transform.Output{
		Columns: []job.Column{{Name: "id", Type: "UInt64"}, {Name: "s", Type: "String"}}, From: cols,
		Provenance: true, Job: "j", Chunk: 7,
	}
	want := "WITH chunk AS (SELECT `id`, `s` FROM file('/p', 'CSV', '`s` String, `id` UInt8', 'none')) " +
		"SELECT accurateCast(`id`, 'UInt64') AS `id`, `s`, toLowCardinality('j') AS _job, toUInt32(7) AS _chunk FROM (\nSELECT id, s FROM chunk\n)"
	if got := transform.Select("SELECT id, s FROM chunk", in, out); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := out.Names(); len(got) != 4 || got[2] != "_job" || got[3] != "_chunk" {
		t.Errorf("names are %v", got)
	}
	out.Provenance = false
	if got := out.Names(); len(got) != 2 {
		t.Errorf("names without provenance are %v", got)
	}
}
