package pipeline

import (
	"errors"
	"fmt"

	"drayage/pkg/job"
)

// Incremental says that a job reads only what came since the pipeline's job
// before it. Written "true" for sources that know by themselves what is new.
type Incremental struct {
	Column   string `yaml:"column" json:"column,omitempty"`     // of a table: its value only grows
	Lookback string `yaml:"lookback" json:"lookback,omitempty"` // as job.ParseLookback reads it
}

// UnmarshalYAML reads true, or the keys.
func (i *Incremental) UnmarshalYAML(decode func(any) error) error {
	var on bool
	if decode(&on) == nil {
		if !on {
			return errors.New("leave incremental out to read everything each time")
		}
		return nil
	}
	type keys Incremental
	return decode((*keys)(i))
}

// Watermark is how the rows of a table are told to be new; the zero value
// without one.
func (p *Pipeline) Watermark() job.Watermark {
	if p.Incremental == nil {
		return job.Watermark{}
	}
	back, err := job.ParseLookback(p.Incremental.Lookback)
	if err != nil {
		back = job.Lookback{} // there is none; another is refused by check
	}
	return job.Watermark{Column: p.Incremental.Column, Lookback: back}
}

// byColumn reports whether a kind of source is read on by a column.
func byColumn(kind string) bool {
	switch kind {
	case "postgres", "mysql", "clickhouse":
		return true
	}
	return false
}

// byItself reports whether a kind of source knows what is new.
func byItself(kind string) bool {
	switch kind {
	case "files", "kafka", "jetstream":
		return true
	}
	return false
}

// checkIncremental finds out whether the source can be read on.
func (d *Document) checkIncremental(bad func(key, problem, hint string)) {
	p := d.Pipeline
	i, kind := p.Incremental, p.Source.Kind()
	if i == nil || kind == "" {
		return
	}
	switch {
	case byColumn(kind) && i.Column == "":
		bad("incremental", "column is missing", "write incremental: {column: updated_at}, a column whose value only grows")
	case byItself(kind) && (i.Column != "" || i.Lookback != ""):
		bad("incremental", fmt.Sprintf("a source of %s knows by itself what is new", kind), "write incremental: true")
	case !byColumn(kind) && !byItself(kind) && kind != "custom":
		bad("incremental", fmt.Sprintf("a source of the kind %s can not tell what is new", kind), "leave it out, and bound what is read by params")
	}
	if i.Lookback == "" {
		return
	}
	if _, err := job.ParseLookback(i.Lookback); err != nil {
		bad("incremental.lookback", err.Error(), "")
	}
	for _, o := range p.All() {
		if o.Load.Mode != ModeUpsert {
			bad("incremental.lookback", fmt.Sprintf("rows that are read again would be twice in %s", o.Load.Table), "write load.mode: upsert with a ReplacingMergeTree(version), or leave the lookback out")
			return
		}
	}
}
