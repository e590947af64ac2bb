package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"drayage/pkg/job"
)

// EmbeddedConfig configures a NATS server in this process.
type EmbeddedConfig struct {
	// StoreDir is where JetStream keeps its files; it is made when missing.
	// One process a directory: a second one gets an error. Required.
	StoreDir string
	// Listen is "host:port" to serve other processes, port 0 for any free one.
	// Empty: reachable in this process only, through Embedded.Connect.
	Listen string
	// Token every client must give, as nats://TOKEN@host:port. Required when
	// Listen is not a loopback address; Embedded.Connect gives it by itself.
	Token string
	// MaxStore bounds the files, in bytes. 0: three quarters of what is free
	// on that disk when the server starts. The streams' bounds (Config) are
	// reserved from it, so less than their sum makes Ensure fail.
	MaxStore int64
	// Ready is how long the start may take, recovery of the store included.
	// Default 30s.
	Ready time.Duration
	// Log gets the server's messages. The zero Logger is silent.
	Log zerolog.Logger
}

// Embedded is a NATS server with JetStream in this process. Every acknowledged
// write is on the disk before it is acknowledged (sync always).
type Embedded struct {
	cfg  EmbeddedConfig
	lock *flock.Flock

	mu     sync.Mutex
	srv    *server.Server // nil between Stop and Restart, and after Close
	host   string
	port   int // the one in use: a restart takes it again
	closed bool
}

// StartEmbedded starts the server and returns when it takes connections. The
// server lives until Close, not until ctx ends; ctx bounds the start.
func StartEmbedded(ctx context.Context, cfg EmbeddedConfig) (*Embedded, error) {
	if cfg.StoreDir == "" {
		return nil, invalid("embedded NATS: StoreDir is empty")
	}
	if cfg.Ready <= 0 {
		cfg.Ready = 30 * time.Second
	}
	e := &Embedded{cfg: cfg}
	if cfg.Listen != "" {
		host, port, err := net.SplitHostPort(cfg.Listen)
		if err != nil {
			return nil, invalid("embedded NATS: listen address %q: %v", cfg.Listen, err)
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, invalid("embedded NATS: listen address %q: port: %v", cfg.Listen, err)
		}
		if ip := net.ParseIP(host); cfg.Token == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, invalid("embedded NATS: listening on %q, which others can reach, needs a token", cfg.Listen)
		}
		e.host, e.port = host, int(n)
		if n == 0 {
			e.port = server.RANDOM_PORT
		}
	}
	if err := os.MkdirAll(cfg.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	// nats-server does not lock its store; two servers on one ruin it.
	e.lock = flock.New(filepath.Join(cfg.StoreDir, "drayage.lock"))
	switch ok, err := e.lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("embedded NATS: lock the store: %w", err)
	case !ok:
		return nil, job.WithClass(fmt.Errorf("embedded NATS: %w: the store %s is in use by another process", ErrUnavailable, cfg.StoreDir), job.Permanent)
	}
	if err := e.start(ctx); err != nil {
		return nil, errors.Join(err, e.lock.Unlock())
	}
	return e, nil
}

func (e *Embedded) start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	srv, err := server.NewServer(&server.Options{
		ServerName: "dray-" + strconv.Itoa(os.Getpid()),
		DontListen: e.cfg.Listen == "",
		Host:       e.host, Port: e.port,
		Authorization: e.cfg.Token,
		JetStream:     true, StoreDir: e.cfg.StoreDir, SyncAlways: true,
		JetStreamMaxStore: e.cfg.MaxStore,
		// Signals belong to the program; its own log is elsewhere.
		NoSigs: true, NoLog: true,
		DisableShortFirstPing: true,
	})
	if err != nil {
		return job.WithClass(fmt.Errorf("embedded NATS: %w", err), job.Permanent)
	}
	srv.SetLoggerV2(serverLog{e.cfg.Log}, false, false, false)
	stop := func(err error) error {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("embedded NATS: %w: %w", ErrUnavailable, err)
	}
	srv.Start()
	for deadline := time.Now().Add(e.cfg.Ready); !srv.ReadyForConnections(250 * time.Millisecond); {
		if err := context.Cause(ctx); err != nil {
			return stop(err)
		}
		if !srv.Running() {
			return stop(errors.New("the server stopped while starting; its log says why"))
		}
		if time.Now().After(deadline) {
			return stop(fmt.Errorf("not ready within %v (is %q free?)", e.cfg.Ready, e.cfg.Listen))
		}
	}
	if addr, ok := srv.Addr().(*net.TCPAddr); ok {
		e.port = addr.Port
	}
	if !srv.JetStreamEnabled() {
		return stop(fmt.Errorf("JetStream did not start on %s", e.cfg.StoreDir))
	}
	e.srv = srv
	return nil
}

// Restart stops the server and starts it again on the same store and the same
// port, as a crash and a restart of a NATS server would look to its clients:
// they reconnect by themselves. For tests of exactly that.
func (e *Embedded) Restart(ctx context.Context) error {
	e.Stop()
	return e.Start(ctx)
}

// Stop stops the server and waits for it; Start may follow. Clients keep
// trying to reconnect.
func (e *Embedded) Stop() {
	e.mu.Lock()
	srv := e.srv
	e.srv = nil
	e.mu.Unlock()
	if srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// Start starts the server again after Stop.
func (e *Embedded) Start(ctx context.Context) error {
	e.mu.Lock()
	running, closed := e.srv != nil, e.closed
	e.mu.Unlock()
	if closed {
		return fmt.Errorf("embedded NATS: %w: closed", ErrUnavailable)
	}
	if running {
		return nil
	}
	return e.start(ctx)
}

// Connect connects within the process, past any network. URL, files and TLS
// of cfg are not used.
func (e *Embedded) Connect(ctx context.Context, cfg Config) (*Queue, error) {
	cfg.URL, cfg.Creds, cfg.NKey, cfg.User, cfg.PasswordFile, cfg.CA, cfg.Cert, cfg.Key = "", "", "", "", "", "", "", ""
	opts := []nats.Option{nats.InProcessServer(e)}
	if e.cfg.Token != "" {
		opts = append(opts, nats.Token(e.cfg.Token))
	}
	return connect(ctx, cfg, "in this process", opts)
}

// InProcessConn is for nats.go's InProcessServer: a connection to whichever
// server runs now, so that clients survive Restart.
func (e *Embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	srv := e.srv
	e.mu.Unlock()
	if srv == nil {
		return nil, fmt.Errorf("embedded NATS: %w: stopped", ErrUnavailable)
	}
	return srv.InProcessConn()
}

// URL is where other processes connect to, with the token if there is one, so
// do not print it then. Empty when it does not listen.
func (e *Embedded) URL() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cfg.Listen == "" {
		return ""
	}
	host := e.host
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	auth := ""
	if e.cfg.Token != "" {
		auth = e.cfg.Token + "@"
	}
	return "nats://" + auth + net.JoinHostPort(host, strconv.Itoa(e.port))
}

// Address is the host and port of URL, which may be printed.
func (e *Embedded) Address() string {
	u, err := url.Parse(e.URL())
	if err != nil {
		return ""
	}
	return u.Host
}

// Close stops the server, waits until it is gone and gives the store back.
// Close the queues first. It may be called more than once.
func (e *Embedded) Close() {
	e.Stop()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.closed = true
		_ = e.lock.Unlock() // the process's end does it at the latest
	}
}

// serverLog gives nats-server's messages to zerolog.
type serverLog struct{ log zerolog.Logger }

func (l serverLog) Noticef(f string, v ...any) { l.log.Debug().Msgf("nats: "+f, v...) }
func (l serverLog) Warnf(f string, v ...any)   { l.log.Warn().Msgf("nats: "+f, v...) }
func (l serverLog) Fatalf(f string, v ...any)  { l.log.Error().Msgf("nats: "+f, v...) }
func (l serverLog) Errorf(f string, v ...any)  { l.log.Error().Msgf("nats: "+f, v...) }
func (l serverLog) Debugf(string, ...any)      {}
func (l serverLog) Tracef(string, ...any)      {}
