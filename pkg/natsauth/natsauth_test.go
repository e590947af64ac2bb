package natsauth_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"drayage/pkg/natsauth"
	"drayage/pkg/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return c
}

// A fort is a NATS server with what this package made.
type fort struct {
	t     *testing.T
	files *natsauth.Files
	srv   *server.Server
	conf  string
}

func build(t *testing.T, cfg natsauth.Config) *fort {
	t.Helper()
	cfg.Dir = filepath.Join(t.TempDir(), "auth")
	files, err := natsauth.Create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := &fort{t: t, files: files, conf: filepath.Join(t.TempDir(), "nats.conf")}
	text := fmt.Sprintf("host: 127.0.0.1\nport: -1\njetstream {store_dir: %q, sync_interval: 1m}\ninclude %q\n", t.TempDir(), relative(t, filepath.Dir(f.conf), files.Conf()))
	if err := os.WriteFile(f.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(f.conf)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoLog, opts.NoSigs = true, true
	if f.srv, err = server.NewServer(opts); err != nil {
		t.Fatal(err)
	}
	f.srv.Start()
	t.Cleanup(func() { f.srv.Shutdown(); f.srv.WaitForShutdown() })
	if !f.srv.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server did not start")
	}
	return f
}

func relative(t *testing.T, from, to string) string {
	t.Helper()
	path, err := filepath.Rel(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// config is what a role's environment says.
func (f *fort) config(role queue.Role) queue.Config {
	cfg := queue.DefaultConfig()
	cfg.URL, cfg.Name, cfg.Timeout = f.srv.ClientURL(), string(role), 5*time.Second
	if os.Getenv("DRAY_TEST_LOG") != "" {
		cfg.Log = zerolog.New(zerolog.NewTestWriter(f.t))
	}
	for _, setting := range f.files.Environment(role) {
		name, value, _ := strings.Cut(setting, "=")
		switch name {
		case "DRAY_NATS_CA":
			cfg.CA = value
		case "DRAY_NATS_NKEY":
			cfg.NKey = value
		case "DRAY_NATS_CREDS":
			cfg.Creds = value
		case "DRAY_NATS_USER":
			cfg.User = value
		case "DRAY_NATS_PASSWORD_FILE":
			cfg.PasswordFile = value
		default:
			f.t.Fatalf("the environment of a role has %s", setting)
		}
	}
	return cfg
}

func (f *fort) connect(role queue.Role) *queue.Queue {
	f.t.Helper()
	q, err := queue.Connect(ctx(f.t), f.config(role))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(q.Close)
	return q
}

// reload has the server read its configuration again, as a SIGHUP does.
func (f *fort) reload() {
	f.t.Helper()
	if err := f.srv.Reload(); err != nil {
		f.t.Fatal(err)
	}
}
