package pipeline

// HTTP is the source of records that an API answers as JSON. Package
// source/rest says what each key does.
type HTTP struct {
	URL      string            `yaml:"url" json:"url"`
	Method   string            `yaml:"method" json:"method,omitempty"`
	Body     string            `yaml:"body" json:"body,omitempty"`
	Headers  map[string]string `yaml:"headers" json:"headers,omitempty"`
	Bearer   string            `yaml:"bearer" json:"bearer,omitempty"`
	Basic    HTTPBasic         `yaml:"basic" json:"basic,omitzero"`
	Records  string            `yaml:"records" json:"records,omitempty"`
	Paging   HTTPPaging        `yaml:"paging" json:"paging,omitzero"`
	Range    HTTPRange         `yaml:"range" json:"range,omitzero"`
	CAFile   string            `yaml:"ca_file" json:"ca_file,omitempty"`
	CertFile string            `yaml:"cert_file" json:"cert_file,omitempty"`
	KeyFile  string            `yaml:"key_file" json:"key_file,omitempty"`
	Rate     string            `yaml:"rate" json:"rate,omitempty"`
	Retries  *int              `yaml:"retries" json:"retries,omitempty"`
	Timeout  string            `yaml:"timeout" json:"timeout,omitempty"`
	MaxPage  Size              `yaml:"max_page" json:"max_page,omitempty"`
}

// HTTPBasic are the credentials of HTTP's basic authentication.
type HTTPBasic struct {
	Username string `yaml:"username" json:"username,omitempty"`
	Password string `yaml:"password" json:"password,omitempty"`
}

// HTTPPaging says how the pages of a chunk follow each other.
type HTTPPaging struct {
	Kind      string `yaml:"kind" json:"kind,omitempty"`
	Param     string `yaml:"param" json:"param,omitempty"`
	Size      int    `yaml:"size" json:"size,omitempty"`
	SizeParam string `yaml:"size_param" json:"size_param,omitempty"`
	Start     *int   `yaml:"start" json:"start,omitempty"`
	Cursor    string `yaml:"cursor" json:"cursor,omitempty"`
	Total     string `yaml:"total" json:"total,omitempty"`
	MaxPages  int    `yaml:"max_pages" json:"max_pages,omitempty"`
}

// HTTPRange cuts what is read into chunks: one key of it is set.
type HTTPRange struct {
	Days   *HTTPDays `yaml:"days" json:"days,omitempty"`
	IDs    *HTTPIDs  `yaml:"ids" json:"ids,omitempty"`
	Values Strings   `yaml:"values" json:"values,omitempty"`
}

// HTTPDays are days in UTC; To is not included.
type HTTPDays struct {
	From   string `yaml:"from" json:"from,omitempty"`
	To     string `yaml:"to" json:"to"`
	Last   int    `yaml:"last" json:"last,omitempty"`
	Step   int    `yaml:"step" json:"step,omitempty"`
	Layout string `yaml:"layout" json:"layout,omitempty"`
}

// HTTPIDs are integers; To is not included.
type HTTPIDs struct {
	From int64 `yaml:"from" json:"from"`
	To   int64 `yaml:"to" json:"to"`
	Step int64 `yaml:"step" json:"step"`
}
