// Package stages are examples of Go stages: one that changes each record, and one
// that makes several rows of it. docs/stages.md walks through them.
package stages

import "drayage/pkg/stage"

// All are the stages of this package, by the names that pipelines use.
func All() stage.Registry {
	return stage.Registry{
		"spell-names": stage.New(SpellNames),
		"movements":   stage.New(Movements),
	}
}
