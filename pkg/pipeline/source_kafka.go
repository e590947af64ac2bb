package pipeline

// Kafka is the source of the messages of a topic. Package source/kafka says what
// each key does.
type Kafka struct {
	Brokers   Strings `yaml:"brokers" json:"brokers"`
	Topic     string  `yaml:"topic" json:"topic"`
	TLS       bool    `yaml:"tls" json:"tls,omitempty"`
	CAFile    string  `yaml:"ca_file" json:"ca_file,omitempty"`
	CertFile  string  `yaml:"cert_file" json:"cert_file,omitempty"`
	KeyFile   string  `yaml:"key_file" json:"key_file,omitempty"`
	Username  string  `yaml:"username" json:"username,omitempty"`
	Password  string  `yaml:"password" json:"password,omitempty"`
	Mechanism string  `yaml:"mechanism" json:"mechanism,omitempty"`
	Format    string  `yaml:"format" json:"format,omitempty"`
	From      string  `yaml:"from" json:"from,omitempty"`
	Metadata  bool    `yaml:"metadata" json:"metadata,omitempty"`
}
