//go:build unix

// Package pgtest starts a real PostgreSQL for tests.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"drayage/pkg/testkit/server"
)

// Server is a PostgreSQL of its own that listens on a socket in a temporary
// folder. The superuser is postgres, who needs no password.
type Server struct {
	dir     string
	process *server.Process
}

// Start makes a cluster and starts the server; settings are such as
// "max_connections=10". PostgreSQL refuses to run as root, so that a test that
// does starts it as the user nobody. It returns once the server takes
// connections. Close ends it.
func Start(ctx context.Context, settings ...string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	// Of t.TempDir the path is too long for a socket.
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if err := s.start(ctx, bin, settings); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, bin string, settings []string) error {
	as, err := server.Owner(s.dir)
	if err != nil {
		return err
	}
	run := func(ctx context.Context, name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
		cmd.Dir, cmd.SysProcAttr = s.dir, as
		cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
		return cmd
	}
	data := filepath.Join(s.dir, "data")
	out, err := run(ctx, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	// Statistics that change by themselves would change what is planned.
	args := []string{"-D", data, "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off"}
	for _, set := range settings {
		args = append(args, "-c", set)
	}
	s.process, err = server.Start(ctx, run(context.WithoutCancel(ctx), "postgres", args...), "ready to accept connections")
	return err
}

// binaries returns the folder of initdb and postgres: that of PATH, or the newest
// of a Debian package.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	all = append(all, glob("/usr/local/bin/initdb")...)
	if len(all) == 0 {
		return "", errors.New("there is no PostgreSQL for the tests: install it, such as with apt-get install postgresql")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	newest := slices.MaxFunc(all, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

func glob(pattern string) []string {
	all, _ := filepath.Glob(pattern)
	return all
}

// URL is the address of the server for user, with the password in it.
func (s *Server) URL(name, password string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(name, password), Path: "/postgres"}
	u.RawQuery = url.Values{"host": {s.dir}, "sslmode": {"disable"}}.Encode()
	return u.String()
}

// Exec runs statements as the superuser, and returns the first value of the
// last of them.
func (s *Server) Exec(ctx context.Context, sql string) (value string, err error) {
	conn, err := pgconn.Connect(ctx, s.URL("postgres", ""))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return "", err
	}
	if rows := results[len(results)-1].Rows; len(rows) > 0 && len(rows[0]) > 0 {
		return string(rows[0][0]), nil
	}
	return "", nil
}

// Close ends the server without waiting for its clients, and removes its folder.
func (s *Server) Close() error {
	return errors.Join(s.process.End(syscall.SIGQUIT), os.RemoveAll(s.dir))
}
