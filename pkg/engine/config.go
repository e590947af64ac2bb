package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"
)

// ServerConfig is the configuration of `dray engine`, read from the
// environment with the prefix DRAY_ENGINE_.
type ServerConfig struct {
	// Path is the data directory. Empty: a temporary one, removed at the end.
	Path string `envconfig:"DRAY_ENGINE_PATH"`
	// Listen is "host:port" (port 0: any) or "unix:/path/of/socket".
	Listen string `envconfig:"DRAY_ENGINE_LISTEN" default:"127.0.0.1:8123"`
	// User and Password are asked of clients when Password is set.
	User     string `envconfig:"DRAY_ENGINE_USER" default:"default"`
	Password string `envconfig:"DRAY_ENGINE_PASSWORD"`
	// MaxMemory bounds what ClickHouse allocates, in bytes. 0: a third of
	// the memory of the machine (or of the control group), at least 512 MiB
	// and at most 8 GiB.
	MaxMemory int64 `envconfig:"DRAY_ENGINE_MAX_MEMORY"`
	// MaxThreads is the number of threads of one query. 0: as ClickHouse
	// chooses, the number of cores.
	MaxThreads int `envconfig:"DRAY_ENGINE_MAX_THREADS"`
	// MaxConnections is the number of queries at once; a request above it
	// waits for MaxWait and is then refused with code 202.
	MaxConnections int           `envconfig:"DRAY_ENGINE_MAX_CONNECTIONS" default:"64"`
	MaxWait        time.Duration `envconfig:"DRAY_ENGINE_MAX_WAIT" default:"30s"`
	// MaxBody bounds the body of one request, in bytes.
	MaxBody int64 `envconfig:"DRAY_ENGINE_MAX_BODY" default:"17179869184"`
	// ReceiveTimeout is how long a client may be silent within a body that it
	// sends; then its statement fails.
	ReceiveTimeout time.Duration `envconfig:"DRAY_ENGINE_RECEIVE_TIMEOUT" default:"30s"`
	// MarkCache bounds the caches of marks and of primary indexes, in bytes.
	MarkCache int64 `envconfig:"DRAY_ENGINE_MARK_CACHE" default:"67108864"`
	// BackgroundPool is the number of threads that merge parts.
	BackgroundPool int `envconfig:"DRAY_ENGINE_BACKGROUND_POOL" default:"2"`
	// TmpPath is where queries spill. Empty: in the data directory.
	TmpPath string `envconfig:"DRAY_ENGINE_TMP_PATH"`
	// DrainTimeout is how long running requests may go on after a stop.
	DrainTimeout time.Duration `envconfig:"DRAY_ENGINE_DRAIN_TIMEOUT" default:"5s"`
	// Library is the path of libchdb; empty: it is looked for.
	Library string `ignored:"true"`
}

// ServerConfigFromEnv reads DRAY_ENGINE_… and DRAY_LIBCHDB.
func ServerConfigFromEnv() (ServerConfig, error) {
	var cfg ServerConfig
	if err := envconfig.Process("", &cfg); err != nil {
		return cfg, fmt.Errorf("read the engine's environment: %w", err)
	}
	cfg.Library = os.Getenv("DRAY_LIBCHDB")
	return cfg, nil
}

// check fills in what depends on the machine and refuses what can not work.
func (c *ServerConfig) check() error {
	switch {
	case c.MaxMemory < 0, c.MaxMemory > 0 && c.MaxMemory < 64<<20:
		return errors.New("DRAY_ENGINE_MAX_MEMORY must be at least 64 MiB, in bytes")
	case c.MaxThreads < 0:
		return errors.New("DRAY_ENGINE_MAX_THREADS must not be negative")
	case c.MaxConnections < 1:
		return errors.New("DRAY_ENGINE_MAX_CONNECTIONS must be at least 1")
	case c.ReceiveTimeout <= 0:
		return errors.New("DRAY_ENGINE_RECEIVE_TIMEOUT must be positive")
	case c.BackgroundPool < 1:
		return errors.New("DRAY_ENGINE_BACKGROUND_POOL must be at least 1")
	}
	if c.MaxMemory == 0 {
		c.MaxMemory = min(max(MachineMemory()/3, 512<<20), 8<<30)
	}
	if c.Path != "" {
		abs, err := filepath.Abs(c.Path)
		if err != nil {
			return fmt.Errorf("data directory %s: %w", c.Path, err)
		}
		c.Path = abs
	}
	return nil
}

// arguments are those of chdb_connect.
func (c *ServerConfig) arguments() []string {
	args := []string{"dray",
		"--path=" + c.Path,
		fmt.Sprintf("--max_server_memory_usage=%d", c.MaxMemory),
		fmt.Sprintf("--mark_cache_size=%d", c.MarkCache),
		fmt.Sprintf("--background_pool_size=%d", c.BackgroundPool),
		// As on a server, where these are off.
		"--implicit_select=0",
		"--allow_introspection_functions=0",
	}
	if c.TmpPath != "" {
		args = append(args, "--tmp_path="+c.TmpPath)
	}
	if c.MaxThreads > 0 {
		args = append(args, fmt.Sprintf("--max_threads=%d", c.MaxThreads))
	}
	return args
}

// listenAddress splits Listen into network and address.
func listenAddress(listen string) (network, address string) {
	if path, ok := strings.CutPrefix(listen, "unix:"); ok {
		return "unix", path
	}
	return "tcp", listen
}
