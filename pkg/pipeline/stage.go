package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxStages bounds the stages of a pipeline.
const MaxStages = 32

// Stage is a Go stage that the records pass between the source and the SELECT,
// as the dray that runs the pipeline knows it: its name alone, or a mapping of
// the name to the settings.
type Stage struct {
	Name     string
	Settings Settings // nil: none

	problem string // what is wrong with how it is written; empty: nothing
}

// Settings are values that only their reader understands: what stands below a
// key, as YAML and JSON have it.
type Settings map[string]any

// walk replaces every string in the settings, not their keys, by what fn makes
// of it.
func (s Settings) walk(key string, fn func(key, s string) string) {
	for name, v := range s {
		s[name] = walkValue(v, key+"."+name, fn)
	}
}

func walkValue(v any, key string, fn func(key, s string) string) any {
	switch v := v.(type) {
	case string:
		return fn(key, v)
	case []any:
		for i := range v {
			v[i] = walkValue(v[i], key, fn)
		}
	case map[string]any:
		Settings(v).walk(key, fn)
	}
	return v
}

// UnmarshalYAML reads a name, or one name with its settings. What is neither is
// found by check, which knows the place.
func (s *Stage) UnmarshalYAML(decode func(any) error) error {
	var v any
	if err := decode(&v); err != nil {
		return err
	}
	*s = readStage(v)
	return nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Stage) UnmarshalJSON(data []byte) error {
	v, err := plain(data)
	if err != nil {
		return err
	}
	if *s = readStage(v); s.problem != "" {
		return errors.New(s.problem)
	}
	return nil
}

// MarshalJSON writes the stage as the file has it.
func (s Stage) MarshalJSON() ([]byte, error) {
	if s.Settings == nil {
		return json.Marshal(s.Name)
	}
	return json.Marshal(map[string]Settings{s.Name: s.Settings})
}

func readStage(v any) Stage {
	switch v := v.(type) {
	case string:
		return Stage{Name: v}
	case map[string]any:
		if len(v) != 1 {
			break
		}
		for name, below := range v {
			switch settings := below.(type) {
			case nil:
				return Stage{Name: name}
			case map[string]any:
				return Stage{Name: name, Settings: settings}
			}
			return Stage{Name: name, problem: fmt.Sprintf("the settings of the stage %s are no mapping of keys", name)}
		}
	}
	return Stage{problem: "a stage is a name, or one name with its settings"}
}

// plain decodes JSON with its numbers as they stand there.
func plain(data []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

// UnmarshalJSON reads settings with their numbers as they stand there.
func (s *Settings) UnmarshalJSON(data []byte) error {
	v, err := plain(data)
	if err != nil {
		return err
	}
	m, ok := v.(map[string]any)
	if !ok && v != nil {
		return errors.New("settings are no mapping of keys")
	}
	*s = m
	return nil
}

// checkStages finds what is wrong with how the stages are written. Whether there
// are such stages is not known here.
func (d *Document) checkStages(bad func(key, problem, hint string)) {
	if n := len(d.Pipeline.Stages); n > MaxStages {
		bad("stages", fmt.Sprintf("%d stages are more than %d", n, MaxStages), "compose some into one, in Go")
	}
	const hint = "write stages: [trim, {mask: {columns: [email]}}]"
	for i, s := range d.Pipeline.Stages {
		at := fmt.Sprintf("stages[%d]", i)
		switch {
		case s.problem != "":
			bad(at, s.problem, hint)
		case !goodName.MatchString(s.Name):
			bad(at, fmt.Sprintf("%q can not be the name of a stage", s.Name), "use 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or digit")
		}
	}
}
