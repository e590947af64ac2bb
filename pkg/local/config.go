// Package local puts a whole Drayage together: the queue, the engines, the
// coordinator and the worker, in one process or as one service of a fleet.
package local

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/kelseyhightower/envconfig"

	"drayage/coordinator"
	"drayage/coordinator/api/guard"
	"drayage/pkg/allow"
	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/fault"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/stage"
	"drayage/pkg/telemetry"
	"drayage/pkg/telemetry/trace"
	"drayage/worker"
)

// Config is all of Drayage's configuration: one structure a part, read from
// the environment with the prefix DRAY_.
type Config struct {
	Process
	Engine      EngineConfig
	Log         telemetry.LogConfig
	Queue       queue.Config
	ClickHouse  clickhouse.Config
	Coordinator coordinator.Config
	HTTP        guard.Config
	Worker      worker.Config
	Allow       allow.Config
	// Rules are what pipelines may reach: those of Allow where the environment
	// has any of its variables, otherwise nil, which is everything. A service of
	// a fleet always has them: see Restrict.
	Rules      *allow.Rules
	Faults     *fault.Set    // of DRAY_FAULT, for tests; nil: none
	Extensions Extensions    // of the program, not of the environment
	Traces     *trace.Tracer // likewise; nil: nobody traces
	// Up is the dray up that works in the data folder, when the environment names
	// no NATS; nil: there is none. Queue and ClickHouse are then where it says.
	Up *Endpoint
}

// Extensions are what is built into one's own dray. docs/stages.md and
// docs/source-custom.md say how.
type Extensions struct {
	Stages  stage.Registry
	Sources source.Registry
}

// Process is what belongs to this process as a whole.
type Process struct {
	DataDir  string `envconfig:"DRAY_DATA_DIR" desc:"where run and sql keep their data; default: $XDG_DATA_HOME/drayage"`
	HTTPAddr string `envconfig:"DRAY_HTTP_ADDR" default:"127.0.0.1:8390" desc:"where a service answers /healthz, /readyz and /metrics, and a coordinator the HTTP API; none: nowhere"`
}

// EngineConfig bounds the engines that this process starts.
type EngineConfig struct {
	Memory     int64 `envconfig:"DRAY_ENGINE_MEMORY" default:"0" desc:"bytes that the transform engine may use; 0: a third of the machine's"`
	DataMemory int64 `envconfig:"DRAY_CLICKHOUSE_MEMORY" default:"0" desc:"bytes that the embedded ClickHouse may use; 0: a third of the machine's"`
	Threads    int   `envconfig:"DRAY_ENGINE_THREADS" default:"0" desc:"threads of a query; 0: the number of CPUs"`
}

// slotMemory is what a slot may come to need, in bytes, in the worker, in its
// engine and in an embedded ClickHouse together: about six times the default
// size of a chunk.
const slotMemory = 768 << 20

// Load reads the configuration from the environment and, where that names no
// NATS, from the dray up that works in the data folder.
func Load() (Config, error) {
	var c Config
	var err error
	if c.Queue, err = queue.LoadConfig(); err != nil {
		return c, err
	}
	if c.ClickHouse, err = clickhouse.FromEnv(); err != nil {
		return c, err
	}
	if c.ClickHouse.URL != "" {
		if err := c.ClickHouse.Validate(); err != nil {
			return c, err
		}
	}
	if c.Faults, err = fault.FromEnv(); err != nil {
		return c, err
	}
	for _, part := range []any{&c.Process, &c.Engine, &c.Log, &c.Coordinator, &c.HTTP, &c.Worker, &c.Allow} {
		if err := envconfig.Process("", part); err != nil {
			return c, fmt.Errorf("reading the configuration from the environment: %w", err)
		}
	}
	if allow.Given() {
		if err := c.Restrict(); err != nil {
			return c, err
		}
	}
	if c.DataDir == "" {
		base := os.Getenv("XDG_DATA_HOME")
		if base == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return c, fmt.Errorf("finding the data folder (set DRAY_DATA_DIR): %w", err)
			}
			base = filepath.Join(home, ".local", "share")
		}
		c.DataDir = filepath.Join(base, "drayage")
	}
	if !named() {
		if c.Up, err = findEndpoint(c.DataDir); err != nil {
			return c, err
		}
		c.reach()
	}
	if c.Worker.Slots == 0 {
		c.Worker.Slots = max(1, min(runtime.NumCPU(), int(engine.MachineMemory()/slotMemory)))
	}
	if c.Engine.Threads == 0 {
		c.Engine.Threads = runtime.NumCPU()
	}
	return c, nil
}

// Restrict sets Rules to those of Allow, whose empty lists allow nothing.
func (c *Config) Restrict() (err error) {
	c.Rules, err = allow.New(c.Allow)
	return err
}

// Remote reports whether there is a NATS to speak to, one that the environment
// names or that of a dray up in the data folder, rather than what dray run has
// left there.
func (c Config) Remote() bool { return c.Up != nil || named() }

// named reports whether the environment names a NATS.
func named() bool { return os.Getenv("DRAY_NATS_URL") != "" || os.Getenv("NATS_URL") != "" }

// reach makes the configuration that of the dray up that was found.
func (c *Config) reach() {
	if c.Up == nil {
		return
	}
	q := &c.Queue
	q.URL, q.Creds, q.NKey, q.CA, q.Cert, q.Key = c.Up.NATS, "", "", "", "", ""
	if ch := &c.ClickHouse; ch.URL == "" && c.Up.ClickHouse != "" {
		ch.URL = c.Up.ClickHouse // with its own user and password
		ch.User, ch.Password, ch.PasswordFile, ch.CAFile = "", "", "", ""
	}
}
