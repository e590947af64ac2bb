package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// The parent hands these files to the child, by number in the environment.
const (
	envListener = "DRAY_ENGINE_FD_LISTENER" // an open listener; Listen is ignored
	envReady    = "DRAY_ENGINE_FD_READY"    // the child writes one report when it is ready, or failed
	envLife     = "DRAY_ENGINE_FD_LIFE"     // ends when the parent is gone: so does the child
)

// report is what the child tells its parent on the ready file.
type report struct {
	Version string `json:"version,omitempty"`
	Failure string `json:"failure,omitempty"` // one of the failure constants
	Message string `json:"message,omitempty"`
}

const (
	failureLibrary = "library"
	failureLocked  = "locked"
	failureOther   = "other"
	failureStopped = "stopped" // by its parent, before it was ready
)

// server is the child: one engine, and the requests that use it.
type server struct {
	cfg      ServerConfig
	lib      *chdb
	args     []string
	version  string // of ClickHouse
	name     string // of this host
	slots    chan struct{}
	queries  queryIDs
	sessions sessions
	log      zerolog.Logger
	stopping context.Context // cancelled when running statements must end
}

// Serve runs the engine until ctx is cancelled, SIGTERM or SIGINT arrives, or
// its parent is gone. It returns nil when it has drained: no request is taken
// any more, running ones got DrainTimeout to end and were then cancelled.
// It may be called once in the life of a process, as libchdb can not be
// unloaded.
func Serve(ctx context.Context, cfg ServerConfig, log zerolog.Logger) error {
	confining := confineSelf() // before any thread does anything else
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	// A result pipe whose reader left is an error of a write, not the end.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := inherited(envReady, "ready")
	if life := inherited(envLife, "life"); life != nil {
		go func() {
			_, _ = io.Copy(io.Discard, life) // ends with the parent
			cancel()
		}()
	}
	tell := func(r report) {
		if ready != nil {
			_ = json.NewEncoder(ready).Encode(r)
			ready.Close()
			ready = nil
		}
	}
	if lent := inherited(envLend, "lend"); lent != nil {
		go keepLent(lent)
	}
	err := confining
	if err == nil {
		err = offMainThread(func() error { return serve(ctx, cfg, log, tell) })
	}
	switch {
	case err == nil:
	case errors.Is(err, ErrNoLibrary):
		tell(report{Failure: failureLibrary, Message: err.Error()})
	case errors.Is(err, ErrLocked):
		tell(report{Failure: failureLocked, Message: err.Error()})
	default:
		tell(report{Failure: failureOther, Message: err.Error()})
	}
	return err
}

// ServeFromEnv is Serve with the configuration and the log level of the
// environment, logging to standard error. Test binaries that start engines
// call it when their first argument is "engine".
func ServeFromEnv(ctx context.Context) error {
	cfg, err := ServerConfigFromEnv()
	if err != nil {
		return err
	}
	level, err := zerolog.ParseLevel(os.Getenv("DRAY_LOG_LEVEL"))
	if err != nil || level == zerolog.NoLevel {
		level = zerolog.InfoLevel
	}
	return Serve(ctx, cfg, zerolog.New(os.Stderr).Level(level).With().Timestamp().Logger())
}

func serve(ctx context.Context, cfg ServerConfig, log zerolog.Logger, tell func(report)) error {
	if err := cfg.check(); err != nil {
		return err
	}
	path, err := FindLibrary(cfg.Library)
	if err != nil {
		return err
	}
	if cfg.Path == "" {
		dir, err := os.MkdirTemp("", "dray-engine-")
		if err != nil {
			return fmt.Errorf("make a temporary data directory: %w", err)
		}
		defer os.RemoveAll(dir)
		cfg.Path = dir
	} else if err := os.MkdirAll(cfg.Path, 0o750); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	unlock, err := lockDirectory(cfg.Path)
	if err != nil {
		return err
	}
	defer unlock()
	// Names of files in SQL that are not absolute start from the current
	// directory; it must not matter where the parent was started.
	if err := os.Chdir(cfg.Path); err != nil {
		return fmt.Errorf("enter the data directory: %w", err)
	}
	if err := os.Setenv("TZ", "UTC"); err != nil {
		return fmt.Errorf("set the time zone: %w", err)
	}

	listener, err := listen(cfg.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()

	started := time.Now()
	lib, err := openChdb(path)
	if err != nil {
		return err
	}
	s := &server{
		cfg: cfg, lib: lib, args: cfg.arguments(), log: log,
		slots: make(chan struct{}, cfg.MaxConnections),
	}
	s.name, _ = os.Hostname()
	keep, err := s.boot()
	if err != nil {
		return err
	}
	defer func() {
		s.sessions.closeAll()
		lib.closeConn(keep)
		lib.shutdown()
	}()
	stopping, cancelStatements := context.WithCancel(context.Background())
	defer cancelStatements()
	s.stopping = stopping

	web := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       10 * time.Minute,
		MaxHeaderBytes:    1 << 20,
	}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	log.Info().Str("addr", listener.Addr().String()).Str("path", cfg.Path).Str("version", s.version).
		Int64("took_ms", time.Since(started).Milliseconds()).Msg("engine is ready")
	tell(report{Version: s.version})

	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	drain, stopDrain := context.WithTimeout(context.Background(), cfg.DrainTimeout)
	defer stopDrain()
	if web.Shutdown(drain) != nil {
		cancelStatements()
		last, stopLast := context.WithTimeout(context.Background(), 2*time.Second)
		defer stopLast()
		if web.Shutdown(last) != nil {
			web.Close()
		}
	}
	log.Info().Msg("engine has drained")
	return nil
}

// boot starts ClickHouse in the data directory and makes `default` an ordinary
// database. The connection that it returns keeps ClickHouse up.
func (s *server) boot() (keep connection, err error) {
	if err := forgetEmptyDefault(s.cfg.Path); err != nil {
		return nil, err
	}
	keep, err = s.lib.open(s.args)
	if err != nil {
		return nil, fmt.Errorf("start ClickHouse in %s: %w (its message is on standard error)", s.cfg.Path, err)
	}
	if err := s.ordinaryDefault(keep); err != nil {
		s.lib.closeConn(keep)
		return nil, err
	}
	out, _, err := s.lib.run(keep, "SELECT version()", "TSVRaw", nil)
	if err != nil {
		s.lib.closeConn(keep)
		return nil, fmt.Errorf("ask for the version: %w", err)
	}
	s.version = strings.TrimSpace(string(out))
	return keep, nil
}

// ordinaryDefault replaces the database `default` of libchdb by an Atomic one.
// libchdb overlays its Atomic database with one that takes table names for
// names of files, so a SELECT from a missing table may read a file. The tables
// are those of the Atomic database, so it is attached alone, under its UUID,
// which is in the link metadata/default. A new directory has no such link yet.
func (s *server) ordinaryDefault(conn connection) error {
	metadata := filepath.Join(s.cfg.Path, "metadata")
	attach := "CREATE DATABASE default ENGINE = Atomic"
	if target, err := os.Readlink(filepath.Join(metadata, "default")); err == nil {
		attach = "ATTACH DATABASE default UUID " + quote(filepath.Base(target)) + " ENGINE = Atomic"
	}
	for _, sql := range []string{"DETACH DATABASE default", attach} {
		if _, _, err := s.lib.run(conn, sql, "Null", nil); err != nil {
			return fmt.Errorf("make default an ordinary database: %s: %w", sql, err)
		}
	}
	return nil
}

var databaseUUID = regexp.MustCompile(`^ATTACH DATABASE _ UUID '(([0-9a-f]{3})[0-9a-f-]{33})'`)

// forgetEmptyDefault removes what the last process left of a `default` without
// tables. ClickHouse links metadata/default with the first table; a database
// that has no link yet can be detached but not attached again (LOGICAL_ERROR,
// "Cannot find UUID mapping"). There is nothing in it, so it is made anew.
func forgetEmptyDefault(path string) error {
	metadata := filepath.Join(path, "metadata")
	text, err := os.ReadFile(filepath.Join(metadata, "default.sql"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the metadata of default: %w", err)
	}
	if _, err := os.Lstat(filepath.Join(metadata, "default")); err == nil {
		return nil
	}
	uuid := databaseUUID.FindSubmatch(text)
	if uuid == nil {
		return nil
	}
	tables, err := filepath.Glob(filepath.Join(path, "store", string(uuid[2]), string(uuid[1]), "*.sql"))
	if err != nil || len(tables) > 0 {
		return err
	}
	if err := os.Remove(filepath.Join(metadata, "default.sql")); err != nil {
		return fmt.Errorf("forget the empty database default: %w", err)
	}
	return nil
}

// listen opens the listener, or takes the one that the parent opened.
func listen(address string) (net.Listener, error) {
	if f := inherited(envListener, "listener"); f != nil {
		defer f.Close()
		l, err := net.FileListener(f)
		if err != nil {
			return nil, fmt.Errorf("take the parent's listener: %w", err)
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // it is the parent's
		}
		return l, nil
	}
	network, addr := listenAddress(address)
	l, err := net.Listen(network, addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// inherited is the file that the parent passed under the name env, nil when it
// passed none. The variable is unset, so that no grandchild believes in it.
func inherited(env, name string) *os.File {
	fd, err := strconv.Atoi(os.Getenv(env))
	os.Unsetenv(env)
	if err != nil || fd < 3 {
		return nil
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name)
}
