package source

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"path/filepath"

	"drayage/pkg/allow"
	"drayage/pkg/job"
)

// Certificates are files of TLS, all in PEM. Paths that are not absolute start
// at Dir.
type Certificates struct {
	CAFile string // those that are trusted, in place of the operating system's
	// CertFile and KeyFile are the client's own; both or none.
	CertFile, KeyFile string
	Dir               string
	Allow             *allow.Rules // which files may be read; nil: all
}

// Some reports whether a file is named.
func (c Certificates) Some() bool { return c.CAFile != "" || c.CertFile != "" || c.KeyFile != "" }

// Check reports what can be seen without the files.
func (c Certificates) Check(bad Complain) {
	if (c.CertFile != "") != (c.KeyFile != "") {
		bad("cert_file", "name both, or neither", "cert_file and key_file go together")
	}
}

// TLS reads the files. Its errors are marked job.Permanent.
func (c Certificates) TLS() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		path := Within(c.Dir, c.CAFile)
		pem, err := c.Allow.ReadFile(path)
		if err != nil {
			return nil, job.Permanentf("reading ca_file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, job.Permanentf("ca_file: %s holds no certificate in PEM", path)
		}
	}
	if c.CertFile != "" {
		pair, err := c.pair()
		if err != nil {
			return nil, job.Permanentf("reading cert_file and key_file: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// Untrusted reports whether err says that the certificate of a server is not
// trusted, or not its own.
func Untrusted(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.HostnameError))
}

// pair is the client's own certificate.
func (c Certificates) pair() (tls.Certificate, error) {
	cert, err := c.Allow.ReadFile(Within(c.Dir, c.CertFile))
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := c.Allow.ReadFile(Within(c.Dir, c.KeyFile))
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// Within is path, from dir where it is not absolute.
func Within(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
