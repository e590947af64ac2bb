package pipeline

// JetStream is the source of the messages of a stream of NATS. Package
// source/jetstream says what each key does.
type JetStream struct {
	URL      string `yaml:"url" json:"url"`
	Stream   string `yaml:"stream" json:"stream"`
	Subject  string `yaml:"subject" json:"subject,omitempty"`
	User     string `yaml:"user" json:"user,omitempty"`
	Password string `yaml:"password" json:"password,omitempty"`
	Token    string `yaml:"token" json:"token,omitempty"`
	NKey     string `yaml:"nkey" json:"nkey,omitempty"`
	Creds    string `yaml:"creds" json:"creds,omitempty"`
	CAFile   string `yaml:"ca_file" json:"ca_file,omitempty"`
	CertFile string `yaml:"cert_file" json:"cert_file,omitempty"`
	KeyFile  string `yaml:"key_file" json:"key_file,omitempty"`
	Format   string `yaml:"format" json:"format,omitempty"`
	From     string `yaml:"from" json:"from,omitempty"`
	Metadata bool   `yaml:"metadata" json:"metadata,omitempty"`
}
