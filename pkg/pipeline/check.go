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
		bad("source", "the source has no kind", "write source: {files: {path: …}}; the kinds are "+strings.Join(allKinds(), ", "))
	case len(set) > 1:
		bad("source", "the source has several kinds: "+strings.Join(set, ", "), "leave one; a pipeline reads from one source")
	}
	if f := p.Source.Files; f != nil && (len(f.Path) == 0 || f.Path[0] == "") {
		bad("source.files", "path is missing", "name a file or a glob such as data/*.csv")
	}
	if p.Source.Chunk < MinChunk || p.Source.Chunk > MaxChunk {
		bad("source.chunk", fmt.Sprintf("%s is outside %s to %s", p.Source.Chunk, MinChunk, MaxChunk), "128MiB suits most inputs")
	}
	if c := p.Source.Custom; c != nil && !goodName.MatchString(c.Kind) {
		bad("source.custom", "kind is missing, or can not be a name", "name a kind of source that this dray was built with; see docs/source-custom.md")
	}
	d.checkStages(bad)
	d.checkLookups(bad)
	d.checkOutputs(bad)
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
	d.checkSchedule(bad)
	d.checkIncremental(bad)
	d.checkTests(bad)
	return errs
}

// checkOutputs finds what is wrong with where the rows go.
func (d *Document) checkOutputs(bad func(key, problem, hint string)) {
	p := d.Pipeline
	switch n := len(p.Outputs); {
	case n > MaxOutputs:
		bad("outputs", fmt.Sprintf("%d outputs are more than %d", n, MaxOutputs), "run several pipelines")
		return
	case n > 0 && p.Transform != "":
		bad("transform", "there are outputs too", "each output has a transform of its own")
	case n > 0 && !p.Load.empty():
		bad("load", "there are outputs too", "each output has a load of its own")
	}
	tables := map[string]bool{}
	for _, o := range p.All() {
		l := o.Load
		switch parts := strings.Split(l.Table, "."); {
		case l.Table == "":
			bad(o.Key("load"), "table is missing", "write load: {table: name} or database.name")
		case len(parts) > 2 || parts[0] == "" || parts[len(parts)-1] == "":
			bad(o.Key("load.table"), fmt.Sprintf("%q is not a table", l.Table), "write name or database.name")
		case tables[l.Table]:
			bad(o.Key("load.table"), fmt.Sprintf("two outputs go to the table %s", l.Table), "make them one, with UNION ALL in its SELECT")
		}
		tables[l.Table] = true
		l.check(func(key, problem, hint string) { bad(o.Key("load."+key), problem, hint) })
	}
}

// empty reports whether nothing is set.
func (l Load) empty() bool {
	return l.Table == "" && l.Create == "" && l.part() == "" && l.OnCluster == "" && l.Mode == "" && l.Evolve == ""
}

// check finds what is wrong beyond the table.
func (l Load) check(bad func(key, problem, hint string)) {
	if c := strings.TrimSpace(l.Create); c != "" && !strings.HasPrefix(strings.ToUpper(c), "ENGINE") {
		bad("create", "an engine clause is expected", `write "ENGINE = MergeTree ORDER BY …"; the columns come from the SELECT`)
	}
	parts := l.part()
	switch {
	case parts != "" && l.Create != "":
		bad(parts, "there is a create clause too", "write it into create, or leave create out and name order_by")
	case parts != "" && l.OrderBy == "":
		bad(parts, "order_by is missing", "write order_by: (column, …), or order_by: tuple() for none")
	}
	if !slices.Contains([]string{"", ModeAppend, ModeReplace, ModePartitions, ModeUpsert}, l.Mode) {
		bad("mode", fmt.Sprintf("%q is no mode", l.Mode), "write append, replace, partitions or upsert")
	}
	if l.Sharded && l.Mode != "" && l.Mode != ModeAppend {
		bad("mode", fmt.Sprintf("%s can not be done on several servers at once: readers would see a part of it", l.Mode), "write mode: append, or load into one server")
	}
	if l.Sharded && l.OnCluster != "" {
		bad("on_cluster", "sharded makes the table on each shard already", "leave one of them out")
	}
	if !slices.Contains([]string{"", EvolveRefuse, EvolveAdd}, l.Evolve) {
		bad("evolve", fmt.Sprintf("%q is no policy", l.Evolve), "write refuse or add")
	}
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
