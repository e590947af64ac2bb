package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/go-sql-driver/mysql"

	"drayage/pkg/allow"
)

const urlHint = "write mysql://user:${env:PASSWORD}@host:3306/database; in a password, write @ : / ? # % as %40 %3A %2F %3F %23 %25"

// defaultPort is that of MySQL and MariaDB.
const defaultPort = "3306"

// parseURL makes a client's configuration. Its error never holds a part of the
// address that may be the password.
func parseURL(text string, allow *allow.Rules) (*mysql.Config, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is not an address") // the error may hold the password
	}
	if u.Scheme != "mysql" && u.Scheme != "mariadb" || u.Opaque != "" {
		return nil, errors.New("does not begin with mysql://")
	}
	cfg := mysql.NewConfig()
	cfg.Logger = &mysql.NopLogger{}
	cfg.ConnectionAttributes = "program_name:drayage"
	cfg.Collation = "utf8mb4_general_ci"
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	cfg.DBName = strings.TrimPrefix(u.Path, "/")
	if cfg.User == "" {
		return nil, errors.New("names no user")
	}
	if cfg.DBName == "" {
		return nil, errors.New("names no database")
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = defaultPort
	}
	cfg.Net, cfg.Addr, cfg.TLSConfig = "tcp", net.JoinHostPort(host, port), "preferred"
	if err := parameters(cfg, u.RawQuery, host, allow); err != nil {
		return nil, err
	}
	if cfg.Net == "unix" {
		cfg.TLSConfig, cfg.TLS = "", nil // what does not leave the machine
	} else if host == "" {
		return nil, errors.New("names no host")
	}
	if _, err := mysql.NewConnector(cfg); err != nil {
		return nil, errors.New("is not an address of MySQL") // the error may hold the password
	}
	return cfg, nil
}

// parameters reads what stands after the question mark of an address.
func parameters(cfg *mysql.Config, query, host string, allow *allow.Rules) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("has parameters after ? that do not parse")
	}
	for name, all := range values {
		value := all[len(all)-1]
		switch name {
		case "tls":
			switch value {
			case "true", "skip-verify", "preferred", "false":
				cfg.TLSConfig = value
			default:
				return errors.New("has a tls that is none of true, skip-verify, preferred, false")
			}
		case "ca":
			roots := x509.NewCertPool()
			text, err := allow.ReadFile(value)
			switch {
			case err != nil:
				return fmt.Errorf("names a ca that can not be read: %w", err)
			case !roots.AppendCertsFromPEM(text):
				return fmt.Errorf("names a ca without certificates: %s", value)
			}
			cfg.TLS = &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}
		case "socket":
			if !filepath.IsAbs(value) {
				return errors.New("has a socket that is no absolute path")
			}
			cfg.Net, cfg.Addr = "unix", value
		default:
			return fmt.Errorf("has the parameter %.40q; there are tls, ca and socket", name)
		}
	}
	if mode := values.Get("tls"); cfg.TLS != nil && mode != "" && mode != "true" {
		return errors.New("has a ca beside a tls that looks at no certificate: leave tls out, or write true")
	}
	return nil
}

// tableName is a table, within a database or that of the connection.
type tableName struct{ database, table string }

// sql writes the name as SQL.
func (n tableName) sql() string {
	if n.database == "" {
		return identifier(n.table)
	}
	return identifier(n.database) + "." + identifier(n.table)
}

// parseTable reads a name such as `my db`.orders.
func parseTable(text string) (tableName, error) {
	var parts []string
	rest := strings.TrimSpace(text)
	for {
		var part string
		if strings.HasPrefix(rest, "`") {
			rest = rest[1:]
			for {
				before, after, ok := strings.Cut(rest, "`")
				if !ok {
					return tableName{}, errors.New("has a backquote that is not closed")
				}
				part, rest = part+before, after
				if !strings.HasPrefix(rest, "`") {
					break
				}
				part, rest = part+"`", rest[1:]
			}
		} else {
			end := strings.IndexFunc(rest, func(r rune) bool {
				return r != '_' && r != '$' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r < 0x80
			})
			if end < 0 {
				end = len(rest)
			}
			part, rest = rest[:end], rest[end:]
		}
		if part == "" || strings.ContainsRune(part, 0) {
			return tableName{}, errors.New("is not the name of a table")
		}
		parts = append(parts, part)
		if rest == "" {
			break
		}
		var dot bool
		if rest, dot = strings.CutPrefix(rest, "."); !dot {
			return tableName{}, errors.New("is not the name of a table")
		}
	}
	switch len(parts) {
	case 1:
		return tableName{table: parts[0]}, nil
	case 2:
		return tableName{parts[0], parts[1]}, nil
	}
	return tableName{}, errors.New("has more than one dot")
}

// identifier writes a name as SQL.
func identifier(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// literal writes a text of ours as SQL, whatever sql_mode says of backslashes.
func literal(text string) string { return fmt.Sprintf("_utf8mb4 X'%X'", text) }
