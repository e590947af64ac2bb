//go:build unix

// Package mysqltest starts a real MariaDB for tests.
package mysqltest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"drayage/pkg/testkit/server"
)

// Database is the database of a Server, made empty.
const Database = "test"

// Server is a MariaDB of its own that listens on a socket in a temporary folder.
// The user root needs no password. Its zone is Asia/Tokyo, which a test notices.
type Server struct {
	dir      string
	binary   string
	settings []string
	as       *syscall.SysProcAttr
	process  *server.Process
}

// Start makes an empty server and starts it; settings are such as
// "max_connections=10". MariaDB is not to run as root, so that a test that does
// starts it as the user nobody. It returns once the server takes connections.
// Close ends it.
func Start(ctx context.Context, settings ...string) (*Server, error) {
	binary, err := binary()
	if err != nil {
		return nil, err
	}
	// Of t.TempDir the path is too long for a socket.
	dir, err := os.MkdirTemp("", "mysqltest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, binary: binary, settings: settings}
	if err = s.make(ctx); err == nil {
		err = s.Restart(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// command is the server with arguments.
func (s *Server) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{
		"--no-defaults", "--datadir=" + s.data(), "--tmpdir=" + s.dir, "--innodb-flush-method=nosync",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M",
		"--character-set-server=utf8mb4", "--skip-name-resolve",
		"--innodb-stats-auto-recalc=OFF", // what is planned would change by itself
	}, args...)
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, s.as
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=Asia/Tokyo")
	return cmd
}

// make makes the data folder.
func (s *Server) make(ctx context.Context) (err error) {
	if s.as, err = server.Owner(s.dir); err != nil {
		return err
	}
	first, err := firstStatements()
	if err != nil {
		return err
	}
	mkdir := exec.CommandContext(ctx, "mkdir", s.data())
	mkdir.SysProcAttr = s.as
	if out, err := mkdir.CombinedOutput(); err != nil {
		return fmt.Errorf("making the data folder: %w: %s", err, out)
	}
	boot := s.command(ctx, "--bootstrap")
	boot.Stdin = bytes.NewReader(first)
	if out, err := boot.CombinedOutput(); err != nil {
		return fmt.Errorf("making an empty server: %w: %s", err, out)
	}
	return nil
}

// Restart starts a server that was stopped, and returns once it takes connections.
func (s *Server) Restart(ctx context.Context) error {
	args := []string{"--socket=" + s.socket(), "--skip-networking", "--pid-file=" + filepath.Join(s.dir, "pid")}
	for _, set := range s.settings {
		args = append(args, "--"+set)
	}
	var err error
	s.process, err = server.Start(ctx, s.command(context.WithoutCancel(ctx), args...), "ready for connections")
	return err
}

// binary returns the server: that of PATH, or of a Debian package, whose folder
// is in the PATH of root alone.
func binary() (string, error) {
	for _, name := range []string{"mariadbd", "/usr/sbin/mariadbd", "/usr/local/bin/mariadbd"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no MariaDB for the tests: install it, such as with apt-get install mariadb-server-core")
}

// firstStatements make the system tables of an empty server. They are what
// mariadb-install-db runs, which needs a package more.
func firstStatements() ([]byte, error) {
	for _, dir := range []string{"/usr/share/mysql", "/usr/share/mariadb", "/usr/local/share/mysql"} {
		tables, err1 := os.ReadFile(filepath.Join(dir, "mysql_system_tables.sql"))
		data, err2 := os.ReadFile(filepath.Join(dir, "mysql_system_tables_data.sql"))
		if err1 == nil && err2 == nil {
			all := append([]byte("CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n"), tables...)
			return append(append(all, data...), "\nCREATE DATABASE "+Database+";\n"...), nil
		}
	}
	return nil, errors.New("the statements that make the system tables of MariaDB are in none of the usual folders")
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) socket() string { return filepath.Join(s.dir, "socket") }

// URL is the address of the server for a user, with the password in it, as a
// pipeline names it.
func (s *Server) URL(name, password string) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(name, password), Host: "localhost", Path: "/" + Database}
	u.RawQuery = url.Values{"socket": {s.socket()}}.Encode()
	return u.String()
}

// Exec runs statements as root, and returns the first value of the first row of
// the last of them, "" where there is none.
func (s *Server) Exec(ctx context.Context, statements string) (value string, err error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.DBName = "root", "unix", s.socket(), Database
	cfg.MultiStatements, cfg.Logger = true, &mysql.NopLogger{}
	cfg.Collation = "utf8mb4_general_ci"
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return "", err
	}
	db := sql.OpenDB(connector)
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, statements)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for more := true; more; more = rows.NextResultSet() {
		first := sql.NullString{}
		names, err := rows.Columns()
		if err != nil {
			return "", err
		}
		into := make([]any, len(names))
		for i := range into {
			into[i] = new(any)
		}
		if len(into) > 0 && rows.Next() {
			into[0] = &first
			if err := rows.Scan(into...); err != nil {
				return "", err
			}
		}
		value = first.String
	}
	return value, rows.Err()
}

// Stop ends the server as an administrator does. Restart starts it again.
func (s *Server) Stop() error { return s.process.End(syscall.SIGTERM) }

// Close ends the server at once and removes its folder.
func (s *Server) Close() error {
	return errors.Join(s.process.End(syscall.SIGKILL), os.RemoveAll(s.dir))
}
