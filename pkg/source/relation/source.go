package relation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Source implements source.Source for relations. That a chunk opened twice
// gives the same rows is up to the SELECT and to what it reads.
type Source struct {
	cfg   Config
	name  string
	steps *steps // nil: values, or the whole
}

var (
	_ source.Source   = (*Source)(nil)
	_ source.Splitter = (*Source)(nil)
	_ source.Locator  = (*Source)(nil)
)

// part is what a chunk says about its input.
type part struct {
	From  string `json:"a,omitempty"`
	To    string `json:"z,omitempty"`
	Value string `json:"v,omitempty"`
}

// cursor is where planning goes on.
type cursor struct {
	Next uint64 `json:"n"` // step or value
}

// sql is the SELECT of a part.
func (s *Source) sql(p part) string {
	return strings.NewReplacer("{from}", p.From, "{to}", p.To, "{value}", p.Value).Replace(strings.TrimRight(s.cfg.SQL, "; \n\t"))
}

// Columns implements source.Source: the declared ones, or those of the SELECT
// over its first part.
func (s *Source) Columns(ctx context.Context, eng source.Engine) ([]job.Column, error) {
	found, err := eng.Describe(ctx, "("+s.sql(s.part(0))+"\n)", s.cfg.Settings)
	if err != nil {
		return nil, fmt.Errorf("asking the engine for the columns of the query: %w", err)
	}
	if len(s.cfg.Columns) == 0 {
		return found, nil
	}
	given := map[string]bool{}
	for _, c := range found {
		given[c.Name] = true
	}
	for _, c := range s.cfg.Columns {
		if !given[c.Name] {
			return nil, job.WithClass(&source.FieldError{Field: "sql", Problem: "the SELECT has no column " + c.Name, Hint: "name it there with AS, or take it out of source.columns"}, job.Permanent)
		}
	}
	return s.cfg.Columns, nil
}

// parts is the number of chunks.
func (s *Source) parts() uint64 {
	switch {
	case s.steps != nil:
		return s.steps.count()
	case len(s.cfg.Values) > 0:
		return uint64(len(s.cfg.Values))
	}
	return 1
}

func (s *Source) part(n uint64) part {
	switch {
	case s.steps != nil:
		from, to := s.steps.at(n)
		return part{From: from, To: to}
	case len(s.cfg.Values) > 0:
		return part{Value: s.cfg.Values[n]}
	}
	return part{}
}

// Plan implements source.Source.
func (s *Source) Plan(ctx context.Context, from json.RawMessage, _ []job.Column) iter.Seq2[source.Planned, error] {
	return func(yield func(source.Planned, error) bool) {
		var at cursor
		if len(from) > 0 {
			if err := json.Unmarshal(from, &at); err != nil {
				yield(source.Planned{}, job.Permanentf("the cursor of a query does not parse: %w", err))
				return
			}
		}
		for n := at.Next; n < s.parts(); n++ {
			if err := ctx.Err(); err != nil {
				yield(source.Planned{}, context.Cause(ctx))
				return
			}
			input, err := json.Marshal(s.part(n))
			next, err2 := json.Marshal(cursor{Next: n + 1})
			if !yield(source.Planned{Input: input, Cursor: next, Inputs: n + 1}, errors.Join(err, err2)) {
				return
			}
		}
	}
}

func parse(input json.RawMessage) (part, error) {
	var p part
	if err := json.Unmarshal(input, &p); err != nil {
		return p, job.Permanentf("the input of a chunk of a query does not parse: %w", err)
	}
	return p, nil
}

// Open implements source.Source.
func (s *Source) Open(_ context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	p, err := parse(input)
	if err != nil {
		return nil, err
	}
	return &source.Input{
		Relation: "(" + s.sql(p) + "\n)", Structure: columns, Settings: s.cfg.Settings, Unordered: true,
		Close: func() error { return nil },
	}, nil
}

// Split implements source.Splitter: a range is halved.
func (s *Source) Split(_ context.Context, input json.RawMessage, _ []job.Column) ([]job.Part, error) {
	p, err := parse(input)
	if err != nil {
		return nil, err
	}
	whole, err := newSteps(Range{From: p.From, To: p.To, Step: 1})
	if err != nil || whole.count() < 2 {
		return nil, source.ErrWhole
	}
	whole.step = (whole.count() + 1) / 2
	var parts []job.Part
	for n := range whole.count() {
		from, to := whole.at(n)
		half, err := json.Marshal(part{From: from, To: to})
		if err != nil {
			return nil, err
		}
		parts = append(parts, job.Part{Input: half})
	}
	return parts, nil
}

// Locate implements source.Locator.
func (s *Source) Locate(input json.RawMessage) (source.Location, error) {
	p, err := parse(input)
	at := source.Location{Name: s.name, Offset: -1}
	switch {
	case p.Value != "":
		at.Name += " " + p.Value
	case p.To != "":
		at.Name += " " + p.From + " to " + p.To
	}
	return at, err
}

// Size implements source.Source. The size of what a query gives is not known.
func (s *Source) Size(context.Context) int64 { return 0 }

// Records says that a chunk has no text of its own, but only rows.
func (s *Source) Records(context.Context, json.RawMessage, []job.Column) (*source.Input, error) {
	return nil, job.WithClass(source.ErrNoRecords, job.Permanent)
}
