package pipeline

// Files is the files source. Package source/files says what each key does.
type Files struct {
	Path        Strings           `yaml:"path" json:"path"`
	Format      string            `yaml:"format" json:"format,omitempty"`
	Compression string            `yaml:"compression" json:"compression,omitempty"`
	Header      *bool             `yaml:"header" json:"header,omitempty"`
	Delimiter   string            `yaml:"delimiter" json:"delimiter,omitempty"`
	Quote       string            `yaml:"quote" json:"quote,omitempty"`
	SkipLines   int               `yaml:"skip_lines" json:"skip_lines,omitempty"`
	Regexp      string            `yaml:"regexp" json:"regexp,omitempty"`
	Multiline   *Multiline        `yaml:"multiline" json:"multiline,omitempty"`
	Settings    map[string]string `yaml:"settings" json:"settings,omitempty"`
	S3          FilesS3           `yaml:"s3" json:"s3,omitzero"`
	GCS         FilesGCS          `yaml:"gcs" json:"gcs,omitzero"`
	Azure       FilesAzure        `yaml:"azure" json:"azure,omitzero"`
	HTTP        FilesHTTP         `yaml:"http" json:"http,omitzero"`
}

// Multiline puts several lines of a file together to a record.
type Multiline struct {
	Begin string `yaml:"begin" json:"begin"`
	Max   Size   `yaml:"max" json:"max,omitempty"`
}

// FilesS3 says how the buckets of s3:// are reached. Package
// source/files/store/s3 says what each key does.
type FilesS3 struct {
	Endpoint     string `yaml:"endpoint" json:"endpoint,omitempty"`
	Region       string `yaml:"region" json:"region,omitempty"`
	Profile      string `yaml:"profile" json:"profile,omitempty"`
	AccessKey    string `yaml:"access_key" json:"access_key,omitempty"`
	SecretKey    string `yaml:"secret_key" json:"secret_key,omitempty"`
	SessionToken string `yaml:"session_token" json:"session_token,omitempty"`
	Anonymous    bool   `yaml:"anonymous" json:"anonymous,omitempty"`
	PathStyle    *bool  `yaml:"path_style" json:"path_style,omitempty"`
}

// FilesGCS says how the buckets of gs:// are reached. Package
// source/files/store/gcs says what each key does.
type FilesGCS struct {
	Endpoint        string `yaml:"endpoint" json:"endpoint,omitempty"`
	CredentialsFile string `yaml:"credentials_file" json:"credentials_file,omitempty"`
	Anonymous       bool   `yaml:"anonymous" json:"anonymous,omitempty"`
	UserProject     string `yaml:"user_project" json:"user_project,omitempty"`
}

// FilesAzure says how the containers of az:// are reached. Package
// source/files/store/azure says what each key does.
type FilesAzure struct {
	Account          string `yaml:"account" json:"account,omitempty"`
	Endpoint         string `yaml:"endpoint" json:"endpoint,omitempty"`
	ConnectionString string `yaml:"connection_string" json:"connection_string,omitempty"`
	AccountKey       string `yaml:"account_key" json:"account_key,omitempty"`
	SASToken         string `yaml:"sas_token" json:"sas_token,omitempty"`
	Anonymous        bool   `yaml:"anonymous" json:"anonymous,omitempty"`
}

// FilesHTTP says how the web servers of http:// and https:// are asked.
type FilesHTTP struct {
	Headers map[string]string `yaml:"headers" json:"headers,omitempty"`
}
