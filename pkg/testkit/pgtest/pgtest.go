//go:build unix

// Package pgtest starts a real PostgreSQL for tests.
package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Server is a PostgreSQL of its own that listens on a socket in a temporary
// folder. The superuser is postgres, who needs no password.
type Server struct {
	dir     string
	process *exec.Cmd
	ended   chan struct{} // the log was read to its end
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
	s := &Server{dir: dir, ended: make(chan struct{})}
	if err := s.start(ctx, bin, settings); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, bin string, settings []string) error {
	as, err := s.owner()
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
	args := []string{"-D", data, "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off"}
	for _, set := range settings {
		args = append(args, "-c", set)
	}
	s.process = run(context.WithoutCancel(ctx), "postgres", args...)
	log, err := s.process.StderrPipe()
	if err != nil {
		return err
	}
	if err := s.process.Start(); err != nil {
		return fmt.Errorf("starting postgres: %w", err)
	}
	ready := make(chan string, 1)
	go func() {
		defer close(s.ended)
		var begin []string
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if begin == nil || len(begin) < 20 {
				begin = append(begin, lines.Text())
			}
			if strings.Contains(lines.Text(), "ready to accept connections") {
				select {
				case ready <- "":
				default:
				}
			}
		}
		select {
		case ready <- "postgres ended: " + strings.Join(begin, "\n"):
		default:
		}
	}()
	select {
	case why := <-ready:
		if why != "" {
			return errors.Join(errors.New(why), s.process.Wait())
		}
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), s.stop())
	}
}

// owner gives the folder to the user that the server runs as.
func (s *Server) owner() (*syscall.SysProcAttr, error) {
	as := &syscall.SysProcAttr{Setpgid: true} // an interrupt of the terminal is not for it
	if os.Getuid() != 0 {
		return as, nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(nobody.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(nobody.Gid, 10, 32)
	if err := errors.Join(err1, err2, os.Chown(s.dir, int(uid), int(gid))); err != nil { //nolint:gosec // of 32 bits
		return nil, err
	}
	as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return as, nil
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
func (s *Server) Exec(ctx context.Context, sql string) (string, error) {
	conn, err := pgconn.Connect(ctx, s.URL("postgres", ""))
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return "", err
	}
	if rows := results[len(results)-1].Rows; len(rows) > 0 && len(rows[0]) > 0 {
		return string(rows[0][0]), nil
	}
	return "", nil
}

// Close ends the server and removes its folder.
func (s *Server) Close() error {
	return errors.Join(s.stop(), os.RemoveAll(s.dir))
}

// stop ends the server without waiting for its clients.
func (s *Server) stop() error {
	if err := s.process.Process.Signal(syscall.SIGQUIT); err != nil {
		return err
	}
	<-s.ended
	var status *exec.ExitError
	if err := s.process.Wait(); err != nil && !errors.As(err, &status) {
		return err
	}
	return nil
}
