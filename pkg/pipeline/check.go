package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of the values in a pipeline.
const (
	MinChunk    = Size(1 << 10)
	MaxChunk    = Size(1 << 30)
	MaxAttempts = 100
	MaxInFlight = 10_000
	MaxRejects  = 1_000_000 // rows of one chunk
)

// check finds what is wrong with the values, beyond their types.
func (d *Document) check() Errors {
	var errs Errors
	p := d.Pipeline
	bad := func(key, problem, hint string) { errs = append(errs, d.At(key, problem, hint)) }

	switch {
	case p.Name == "":
		bad("pipeline", "the pipeline has no name", "begin the file with: pipeline: flights")
	case !goodName.MatchString(p.Name):
		bad("pipeline", fmt.Sprintf("%q can not be a name", p.Name), "use 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or digit")
	}
	switch set := p.Source.Kinds(); {
	case len(set) == 0:
		bad("source", "the source has no kind", "write source: {files: {path: …}}; the kinds are "+strings.Join(AllKinds(), ", "))
	case len(set) > 1:
		bad("source", "the source has several kinds: "+strings.Join(set, ", "), "leave one; a pipeline reads from one source")
	}
	if f := p.Source.Files; f != nil && (len(f.Path) == 0 || f.Path[0] == "") {
		bad("source.files", "path is missing", "name a file or a glob such as data/*.csv")
	}
	if p.Source.Chunk < MinChunk || p.Source.Chunk > MaxChunk {
		bad("source.chunk", fmt.Sprintf("%s is outside %s to %s", p.Source.Chunk, MinChunk, MaxChunk), "128MiB suits most inputs")
	}
	for name, l := range p.Lookups {
		key := "lookups." + name
		if !plainName.MatchString(name) || name == "chunk" {
			bad("lookups", fmt.Sprintf("%q can not be the name of a lookup", name), "use letters, digits and _; chunk is the input itself")
			continue
		}
		if l.Path == "" {
			bad(key, "path is missing", "name the file that holds the lookup")
		}
	}
	switch parts := strings.Split(p.Load.Table, "."); {
	case p.Load.Table == "":
		bad("load", "table is missing", "write load: {table: name} or database.name")
	case len(parts) > 2 || parts[0] == "" || parts[len(parts)-1] == "":
		bad("load.table", fmt.Sprintf("%q is not a table", p.Load.Table), "write name or database.name")
	}
	if c := strings.TrimSpace(p.Load.Create); c != "" && !strings.HasPrefix(strings.ToUpper(c), "ENGINE") {
		bad("load.create", "an engine clause is expected", `write "ENGINE = MergeTree ORDER BY …"; the columns come from the SELECT`)
	}
	parts := p.Load.part()
	switch {
	case parts != "" && p.Load.Create != "":
		bad("load."+parts, "there is a create clause too", "write it into create, or leave create out and name order_by")
	case parts != "" && p.Load.OrderBy == "":
		bad("load."+parts, "order_by is missing", "write order_by: (column, …), or order_by: tuple() for none")
	}
	if m := p.Load.Mode; !slices.Contains([]string{"", ModeAppend, ModeReplace, ModePartitions, ModeUpsert}, m) {
		bad("load.mode", fmt.Sprintf("%q is no mode", m), "write append, replace, partitions or upsert")
	}
	if e := p.Load.Evolve; !slices.Contains([]string{"", EvolveRefuse, EvolveAdd}, e) {
		bad("load.evolve", fmt.Sprintf("%q is no policy", e), "write refuse or add")
	}
	if m := p.Reject.Limit(); m.Percent < 0 || m.Percent > 100 {
		bad("reject.max", fmt.Sprintf("%s is outside 0%% to 100%%", m), "")
	} else if m.Rows > MaxRejects {
		bad("reject.max", fmt.Sprintf("%s rows are outside 0 to %d", m, MaxRejects), "write a part of the chunk, such as 10%")
	}
	if p.Retry.Attempts < 1 || p.Retry.Attempts > MaxAttempts {
		bad("retry.attempts", fmt.Sprintf("%d is outside 1 to %d", p.Retry.Attempts, MaxAttempts), "")
	}
	if p.Limits.InFlight < 0 || p.Limits.InFlight > MaxInFlight {
		bad("limits.in_flight", fmt.Sprintf("%d is outside 1 to %d", p.Limits.InFlight, MaxInFlight), "leave it out to use every slot")
	}
	d.checkTests(bad)
	return errs
}

// part is the key of the first part of a create clause that is set, "" for none.
func (l Load) part() string {
	switch {
	case l.Engine != "":
		return "engine"
	case l.PartitionBy != "":
		return "partition_by"
	case l.TTL != "":
		return "ttl"
	case len(l.Settings) > 0:
		return "settings"
	case len(l.Codecs) > 0:
		return "codecs"
	case l.OrderBy != "":
		return "order_by"
	}
	return ""
}
