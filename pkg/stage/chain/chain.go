// Package chain makes the stages that a pipeline names of those that a dray has.
package chain

import (
	"encoding/json"

	"drayage/pkg/pipeline"
	"drayage/pkg/stage"
)

// New makes the stages of a pipeline whose references were resolved. Its error is
// a *stage.UseError.
func New(p *pipeline.Pipeline, known stage.Registry) (stage.Chain, error) {
	uses := make([]stage.Use, len(p.Stages))
	for i, s := range p.Stages {
		uses[i].Name = s.Name
		if s.Settings == nil {
			continue
		}
		var err error
		if uses[i].Settings, err = json.Marshal(s.Settings); err != nil {
			return stage.Chain{}, &stage.UseError{Index: i, Name: s.Name, Problem: "its settings have no JSON: " + err.Error()}
		}
	}
	return known.Chain(uses)
}
