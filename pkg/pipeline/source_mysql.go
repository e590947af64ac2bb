package pipeline

// MySQL is the source of a table or a query of MySQL or MariaDB. Package
// source/mysql says what each key does.
type MySQL struct {
	URL   string  `yaml:"url" json:"url"`
	Table string  `yaml:"table" json:"table,omitempty"`
	Query string  `yaml:"query" json:"query,omitempty"`
	Key   Strings `yaml:"key" json:"key,omitempty"`
	Where string  `yaml:"where" json:"where,omitempty"`
}
