package stage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"drayage/pkg/job"
)

// Factory makes a stage of its settings: what the pipeline has under the stage's
// name, as JSON, with its references resolved; empty when it has nothing. It is
// called at least once for a job in each process, and opens nothing that needs
// closing. Settings may be secret: they must not be in its errors.
type Factory func(settings json.RawMessage) (Stage, error)

// Registry are the stages that a dray knows, by the names that pipelines use.
type Registry map[string]Factory

// New is the Factory of a stage whose settings are a struct C. Settings that it
// has no field for are refused.
func New[C any](build func(C) (Stage, error)) Factory {
	return func(settings json.RawMessage) (Stage, error) {
		var c C
		if len(settings) > 0 {
			dec := json.NewDecoder(bytes.NewReader(settings))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&c); err != nil {
				return Stage{}, fmt.Errorf("reading the settings: %w", err)
			}
		}
		return build(c)
	}
}

// Use is a stage as a pipeline names it.
type Use struct {
	Name     string
	Settings json.RawMessage
}

// UseError says which of the stages of a pipeline can not be had, and why.
type UseError struct {
	Index   int // among the stages, from 0
	Name    string
	Problem string
	Hint    string
	// Unknown says that this dray has no stage of the name, as another may.
	Unknown bool
}

func (e *UseError) Error() string { return "stage " + e.Name + ": " + e.Problem }

// Chain are the stages of a pipeline, one after the other.
type Chain struct {
	uses   []Use
	stages []Stage
}

// Chain makes the stages of a pipeline. Its error is a *UseError.
func (g Registry) Chain(uses []Use) (Chain, error) {
	c := Chain{uses: uses}
	for i, u := range uses {
		factory, ok := g[u.Name]
		if !ok {
			return Chain{}, &UseError{Index: i, Name: u.Name, Problem: "this dray has no such stage", Hint: g.hint(), Unknown: true}
		}
		err := guarded(func() error {
			s, err := factory(u.Settings)
			c.stages = append(c.stages, s)
			return err
		})
		if err != nil {
			return Chain{}, &UseError{Index: i, Name: u.Name, Problem: err.Error()}
		}
	}
	return c, nil
}

// Stage is the chain as one stage.
func (c Chain) Stage() Stage { return Compose(c.stages...) }

// Columns are those of the rows that the chain makes of records with the columns
// in. Its error is a *UseError.
func (c Chain) Columns(in []job.Column) ([]job.Column, error) {
	cols := in
	for i, s := range c.stages {
		err := guarded(func() (err error) {
			if cols, err = s.Columns(cols); err == nil {
				err = distinct(cols)
			}
			return err
		})
		if err != nil {
			return nil, &UseError{Index: i, Name: c.uses[i].Name, Problem: err.Error()}
		}
	}
	return cols, nil
}

// distinct refuses columns that no table can have.
func distinct(cols []job.Column) error {
	seen := map[string]bool{}
	for _, c := range cols {
		switch {
		case c.Name == "" || c.Type == "":
			return fmt.Errorf("the stage gives the column %q the type %q", c.Name, c.Type)
		case seen[c.Name]:
			return fmt.Errorf("the stage gives the column %s twice", c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}

// guarded makes an error of a panic: a mistake in a stage fails the jobs that
// use it, and not the coordinator that looks at them.
func guarded(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the stage panicked: %v", v)
		}
	}()
	return do()
}

func (g Registry) hint() string {
	const build = "stages are compiled in: build a dray with them, as docs/stages.md shows, and run the coordinator and every worker from it"
	if len(g) == 0 {
		return "it has none; " + build
	}
	return "it has " + strings.Join(g.Names(), ", ") + "; " + build
}

// Names are the names of the stages, in order.
func (g Registry) Names() []string { return slices.Sorted(maps.Keys(g)) }
