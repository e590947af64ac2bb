package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// Lookup is a small table that the SELECTs see under the name of its key. Its
// rows are those of one moment, when the job is planned, for all chunks and
// all their attempts. Exactly one of Path, Table, Query and Source is set.
type Lookup struct {
	// Path is a file that the coordinator and every worker see under this name.
	Path   string `yaml:"path" json:"path,omitempty"`
	Format string `yaml:"format" json:"format,omitempty"` // of the file; default: by its extension
	// Table is a table of the target's ClickHouse: table or database.table.
	Table string `yaml:"table" json:"table,omitempty"`
	// Query is a SELECT that the target's ClickHouse runs.
	Query string `yaml:"query" json:"query,omitempty"`
	// Source is any kind of source; all of it is read.
	Source *Source `yaml:"source" json:"source,omitempty"`
	// Columns with their types, of all but Source, which has its own. Default:
	// those of the file, table or query.
	Columns Columns `yaml:"columns" json:"columns,omitempty"`
}

// The kinds of lookup, by their keys.
const (
	LookupPath   = "path"
	LookupTable  = "table"
	LookupQuery  = "query"
	LookupSource = "source"
)

// Kind is the kind of lookup that is set, the first of several; empty when none
// is.
func (l Lookup) Kind() string {
	if set := l.kinds(); len(set) > 0 {
		return set[0]
	}
	return ""
}

func (l Lookup) kinds() []string {
	set := map[string]bool{LookupPath: l.Path != "", LookupTable: l.Table != "", LookupQuery: l.Query != "", LookupSource: l.Source != nil}
	return slices.DeleteFunc([]string{LookupPath, LookupTable, LookupQuery, LookupSource}, func(k string) bool { return !set[k] })
}

// Declared are the columns that the file names, none when they are to be found
// out.
func (l Lookup) Declared() Columns {
	if l.Source != nil {
		return l.Source.Columns
	}
	return l.Columns
}

// setDefaults completes what the file left out.
func (l *Lookup) setDefaults() {
	l.Query = strings.TrimRight(l.Query, "; \n\t")
	if l.Source != nil && l.Source.Chunk == 0 {
		l.Source.Chunk = DefaultChunk
	}
}

// checkLookups finds what is wrong with the lookups.
func (d *Document) checkLookups(bad func(key, problem, hint string)) {
	for name, l := range d.Pipeline.Lookups {
		if !plainName.MatchString(name) || name == "chunk" {
			bad("lookups", fmt.Sprintf("%q can not be the name of a lookup", name), "use letters, digits and _; chunk is the input itself")
			continue
		}
		l.check(func(key, problem, hint string) {
			bad(strings.TrimSuffix("lookups."+name+"."+key, "."), problem, hint)
		})
	}
}

func (l Lookup) check(bad func(key, problem, hint string)) {
	switch set := l.kinds(); {
	case len(set) == 0:
		bad("", "the lookup has no rows", "write path: with a file, table: or query: of the target's ClickHouse, or source: with any kind of source")
		return
	case len(set) > 1:
		bad("", "the lookup has several origins: "+strings.Join(set, ", "), "leave one")
		return
	}
	if l.Format != "" && l.Path == "" {
		bad("format", "only a file has a format", "")
	}
	if parts := strings.Split(l.Table, "."); l.Table != "" && (len(parts) > 2 || parts[0] == "" || parts[len(parts)-1] == "") {
		bad("table", fmt.Sprintf("%q is not a table", l.Table), "write name or database.name")
	}
	s := l.Source
	if s == nil {
		return
	}
	if len(l.Columns) > 0 {
		bad("columns", "a lookup with a source has its columns there", "write them into source.columns")
	}
	switch set := s.Kinds(); {
	case len(set) == 0:
		bad("source", "the source has no kind", "write source: {clickhouse: {…}}; the kinds are "+strings.Join(allKinds(), ", "))
	case len(set) > 1:
		bad("source", "the source has several kinds: "+strings.Join(set, ", "), "leave one")
	}
	if f := s.Files; f != nil && (len(f.Path) == 0 || f.Path[0] == "") {
		bad("source.files", "path is missing", "name a file or a glob such as data/*.csv")
	}
	if c := s.Custom; c != nil && !goodName.MatchString(c.Kind) {
		bad("source.custom", "kind is missing, or can not be a name", "name a kind of source that this dray was built with")
	}
	if s.Chunk < MinChunk || s.Chunk > MaxChunk {
		bad("source.chunk", fmt.Sprintf("%s is outside %s to %s", s.Chunk, MinChunk, MaxChunk), "leave it out")
	}
}
