package guard

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// TLS is what the server speaks; nil without a certificate. The certificate is
// read again when its file changes; one that can not be read is logged, and the
// one before stays.
func (g *Guard) TLS() (*tls.Config, error) {
	if g.cfg.Cert == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	c := &certificate{g: g}
	if err := c.load(); err != nil {
		return nil, settingError("DRAY_HTTP_CERT", "%w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// certificate is the server's, as its files have it.
type certificate struct {
	g *Guard

	mu      sync.Mutex
	now     *tls.Certificate
	looked  time.Time
	changed [2]time.Time // of certificate and key
}

func (c *certificate) load() error {
	var at [2]time.Time
	for i, name := range []string{c.g.cfg.Cert, c.g.cfg.Key} {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		at[i] = info.ModTime()
	}
	if c.now != nil && at == c.changed {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.g.cfg.Cert, c.g.cfg.Key)
	if err != nil {
		return err
	}
	c.now, c.changed = &pair, at
	return nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) >= lookAgain {
		c.looked = time.Now()
		if err := c.load(); err != nil {
			c.g.log.Error().Err(err).Msg("DRAY_HTTP_CERT can not be read; the certificate stays as it was")
		}
	}
	return c.now, nil
}
