package postgres

import (
	"context"
	"net"
	"net/url"

	"github.com/jackc/pgx/v5/pgconn"

	"drayage/pkg/source/keyed"
)

// fileParameters of a URL name files that the client reads.
var fileParameters = []string{"sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile", "servicefile"}

// server is the client's configuration. Its error may hold the password, unless
// it is a *job.RefusedError.
func server(c keyed.Config) (*pgconn.Config, error) {
	if c.Allow == nil {
		return pgconn.ParseConfig(c.URL)
	}
	if u, err := url.Parse(c.URL); err == nil { // what does not parse, the client refuses
		for _, name := range fileParameters {
			for _, path := range u.Query()[name] {
				if _, err := c.Allow.Path(path); err != nil && path != "system" {
					return nil, err
				}
			}
		}
	}
	cfg, err := pgconn.ParseConfig(c.URL)
	if err != nil {
		return nil, err
	}
	// The client looks names up by itself, and would dial addresses only.
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	cfg.DialFunc = c.Allow.Dialer(net.Dialer{KeepAlive: keepAlive})
	return cfg, nil
}
