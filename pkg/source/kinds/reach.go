package kinds

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/source/files"
)

// reach refuses the paths and hosts of a source that may not be reached and can
// be told by their names, so that a pipeline is refused at its key before
// anything is connected to. What a name turns out to be is judged where it is
// opened. The error is of type source.FieldErrors.
func reach(s *pipeline.Source, env Env) error {
	if env.Allow == nil {
		return nil
	}
	r := &reaching{env: env}
	switch {
	case s.Files != nil:
		r.files(s.Files)
	case s.ClickHouse != nil:
		r.address("url", s.ClickHouse.URL)
		r.path("ca_file", s.ClickHouse.CAFile)
	case s.Postgres != nil:
		r.address("url", s.Postgres.URL)
	case s.MySQL != nil:
		r.address("url", s.MySQL.URL)
	case s.HTTP != nil:
		r.address("url", s.HTTP.URL)
		r.certificates(s.HTTP.CAFile, s.HTTP.CertFile, s.HTTP.KeyFile)
	case s.JetStream != nil:
		for one := range strings.SplitSeq(s.JetStream.URL, ",") {
			r.address("url", one)
		}
		r.certificates(s.JetStream.CAFile, s.JetStream.CertFile, s.JetStream.KeyFile)
	case s.Kafka != nil:
		for _, some := range s.Kafka.Brokers {
			for one := range strings.SplitSeq(some, ",") {
				r.address("brokers", "kafka://"+strings.TrimSpace(one))
			}
		}
		r.certificates(s.Kafka.CAFile, s.Kafka.CertFile, s.Kafka.KeyFile)
	}
	return job.WithClass(r.wrong.Err(), job.Permanent)
}

// reaching collects what is refused.
type reaching struct {
	env   Env
	wrong source.FieldErrors
}

func (r *reaching) refuse(field string, err error) {
	var refused *job.RefusedError
	if errors.As(err, &refused) {
		r.wrong = append(r.wrong, Refused(field, refused))
	}
}

// Refused is the mistake of a key that names what may not be reached.
func Refused(field string, refused *job.RefusedError) *source.FieldError {
	bare := *refused
	bare.Variable = ""
	return &source.FieldError{Field: field, Problem: bare.Error(), Hint: refused.Hint()}
}

// files judges the places of files and of their stores.
func (r *reaching) files(f *pipeline.Files) {
	for _, path := range f.Path {
		scheme, _, remote := strings.Cut(path, "://")
		switch {
		case !remote:
			r.refuse("path", r.env.Allow.Reaches(source.Within(r.env.Dir, files.Base(path))))
		case scheme == "http", scheme == "https":
			r.address("path", path)
		}
	}
	r.address("s3.endpoint", f.S3.Endpoint)
	r.address("gcs.endpoint", f.GCS.Endpoint)
	r.address("azure.endpoint", f.Azure.Endpoint)
	r.path("gcs.credentials_file", f.GCS.CredentialsFile)
}

func (r *reaching) certificates(ca, cert, key string) {
	r.path("ca_file", ca)
	r.path("cert_file", cert)
	r.path("key_file", key)
}

func (r *reaching) path(field, path string) {
	if path != "" {
		r.refuse(field, r.env.Allow.Reaches(source.Within(r.env.Dir, path)))
	}
}

// address judges the host of an address that parses; the source says what is
// wrong with others. One without a host, such as of a socket, is judged when it
// is connected to.
func (r *reaching) address(field, text string) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Hostname() == "" || strings.Contains(u.Host, ",") {
		return
	}
	port := u.Port()
	if port == "" {
		port = ports[u.Scheme]
	}
	n, _ := strconv.ParseUint(port, 10, 16) // 0 where it is not known
	r.refuse(field, r.env.Allow.Host(u.Hostname(), uint16(n)))
}

// ports are those of addresses that name none.
var ports = map[string]string{
	"http": "80", "https": "443", "postgres": "5432", "postgresql": "5432", "mysql": "3306", "mariadb": "3306",
	"nats": "4222", "tls": "4222", "kafka": "9092", "clickhouse": "9000", "clickhouses": "9440",
}
