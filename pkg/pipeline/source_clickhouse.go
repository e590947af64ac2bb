package pipeline

// ClickHouse is the source of a table or a query of another ClickHouse. Package
// source/clickhouse says what each key does.
type ClickHouse struct {
	URL      string `yaml:"url" json:"url"`
	User     string `yaml:"user" json:"user,omitempty"`
	Password string `yaml:"password" json:"password,omitempty"`
	CAFile   string `yaml:"ca_file" json:"ca_file,omitempty"`
	Table    string `yaml:"table" json:"table,omitempty"`
	Query    string `yaml:"query" json:"query,omitempty"`
	Where    string `yaml:"where" json:"where,omitempty"`
}
