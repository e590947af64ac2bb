package pipeline

// Query is the source of rows that a table function of the engine fetches.
// Package source/relation says what each key does.
type Query struct {
	SQL      string            `yaml:"sql" json:"sql"`
	Range    *Range            `yaml:"range" json:"range,omitempty"`
	Values   Strings           `yaml:"values" json:"values,omitempty"`
	Settings map[string]string `yaml:"settings" json:"settings,omitempty"`
}

// Range are integers or days, cut by a step.
type Range struct {
	From string `yaml:"from" json:"from"`
	To   string `yaml:"to" json:"to"` // not included
	Step uint64 `yaml:"step" json:"step"`
}

// Generate is the source of synthetic rows; source.rows is the size of a chunk.
type Generate struct {
	Rows   uint64 `yaml:"rows" json:"rows"`
	Select string `yaml:"select" json:"select"`
}
