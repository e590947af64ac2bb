//go:build unix

// Package server runs the program of a database server for tests.
package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// maxLog bounds the lines of a log that are kept to say why a server ended.
const maxLog = 50

// Owner says as whom a server runs that refuses to be root, and gives it the
// folder: where a test is root, as the user nobody.
func Owner(dir string) (*syscall.SysProcAttr, error) {
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
	if err := errors.Join(err1, err2, os.Chown(dir, int(uid), int(gid))); err != nil { //nolint:gosec // of 32 bits
		return nil, err
	}
	as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return as, nil
}

// Database is a server with a connection of its own.
type Database interface {
	Exec(ctx context.Context, statements string) (value string, err error)
	Close() error
}

// Run starts a database in which the statements were run, and ends it with the
// test.
func Run[D Database](t *testing.T, start func(ctx context.Context, settings ...string) (D, error), statements string, settings ...string) D {
	t.Helper()
	db, err := start(t.Context(), settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := db.Exec(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
	return db
}

// Process is a server that runs.
type Process struct {
	cmd   *exec.Cmd
	ended chan struct{} // the log was read to its end
}

// Start starts a server, and returns once its log, which it writes to stderr, has
// a line with the text ready. End ends it.
func Start(ctx context.Context, cmd *exec.Cmd, ready string) (*Process, error) {
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	name := filepath.Base(cmd.Path)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	began := make(chan error, 1)
	go func() {
		defer close(p.ended)
		var begin []string
		is := false
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if len(begin) < maxLog {
				begin = append(begin, lines.Text())
			}
			if !is && strings.Contains(lines.Text(), ready) {
				is = true
				began <- nil
			}
		}
		if !is {
			began <- fmt.Errorf("%s ended: %s", name, strings.Join(begin, "\n"))
		}
	}()
	select {
	case err = <-began:
		if err != nil {
			return nil, errors.Join(err, cmd.Wait())
		}
		return p, nil
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), p.End(syscall.SIGKILL))
	}
}

// End ends the server by a signal, and returns when it has ended.
func (p *Process) End(by syscall.Signal) error {
	if err := p.cmd.Process.Signal(by); err != nil {
		return err
	}
	<-p.ended
	var status *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &status) {
		return err
	}
	return nil
}
