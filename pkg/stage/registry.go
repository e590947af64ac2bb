package stage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Factory makes a stage of its settings: what the pipeline has under the stage's
// name, as JSON, with its references resolved; empty when it has nothing. It is
// called once for a job in each process. Settings may be secret: they must not
// be in its errors.
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
}

func (e *UseError) Error() string { return "stage " + e.Name + ": " + e.Problem }

// Chain makes the stages of a pipeline into one. Its error is a *UseError.
func (g Registry) Chain(uses []Use) (Stage, error) {
	var all []Stage
	for i, u := range uses {
		factory, ok := g[u.Name]
		if !ok {
			return Stage{}, &UseError{i, u.Name, "this dray has no such stage", g.hint()}
		}
		s, err := factory(u.Settings)
		if err != nil {
			return Stage{}, &UseError{i, u.Name, err.Error(), ""}
		}
		all = append(all, s)
	}
	return Compose(all...), nil
}

func (g Registry) hint() string {
	const build = "stages are compiled in: build a dray with them, as docs/stages.md shows, and run the coordinator and every worker from it"
	if len(g) == 0 {
		return "it has none; " + build
	}
	return "it has " + strings.Join(slices.Sorted(maps.Keys(g)), ", ") + "; " + build
}
