package pipeline

// Custom is the source of a kind that is built into the dray that runs the
// pipeline. docs/source-custom.md says how.
type Custom struct {
	Kind     string   `yaml:"kind" json:"kind"`
	Settings Settings `yaml:"settings" json:"settings,omitempty"`
}
