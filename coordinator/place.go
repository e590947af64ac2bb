package coordinator

import (
	"encoding/json"

	"drayage/pkg/allow"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/source/kinds"
	"drayage/pkg/source/replay"
)

// Places returns what says for a person where the input of a chunk of the job
// is. Where the job's source can not be made here, because a variable of the
// workers is not set, it is the input's description as it stands.
func Places(j job.Job, custom source.Registry, rules *allow.Rules) func(json.RawMessage) string {
	plain := func(input json.RawMessage) string { return string(input) }
	if j.Frozen == nil {
		return plain
	}
	p, err := pipeline.Thaw(j.Frozen.Pipeline, j.Frozen.JobTime, rules)
	if err != nil {
		return plain
	}
	var s source.Source
	if s, err = kinds.New(p, kinds.Env{Dir: j.Submission.Dir, Custom: custom, Allow: rules}); err != nil {
		return plain
	}
	if r := j.Submission.Replay; r != nil && r.What == job.ReplayRejects {
		if inner, ok := s.(replay.Recorder); ok {
			s = replay.NewRejects(inner, nil, r.Job) // which only locates
		}
	}
	return func(input json.RawMessage) string { return source.Place(s, input) }
}
