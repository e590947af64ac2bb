package pipeline

// Keyed is the source of a table or a query that is cut by its key, of PostgreSQL
// or of MySQL and MariaDB. Packages source/postgres and source/mysql say what each
// key of it does.
type Keyed struct {
	URL   string  `yaml:"url" json:"url"`
	Table string  `yaml:"table" json:"table,omitempty"`
	Query string  `yaml:"query" json:"query,omitempty"`
	Key   Strings `yaml:"key" json:"key,omitempty"`
	Where string  `yaml:"where" json:"where,omitempty"`
}
