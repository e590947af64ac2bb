// Package worker takes chunks from the queue and carries each the whole way:
// extract, SQL in the engine, one block into ClickHouse, the result recorded,
// the chunk acknowledged. A worker holds nothing that is needed to finish a
// job; it may be killed at any moment.
package worker

import (
	"fmt"
	"os"
	"runtime"
	"time"
)

// Config is the worker's configuration.
type Config struct {
	ID       string        `envconfig:"DRAY_WORKER_ID" desc:"name of this worker; default: host name and process id"`
	Slots    int           `envconfig:"DRAY_SLOTS" desc:"chunks at work at once; default: the number of CPUs, fewer where there is less than 768 MiB of memory for each"`
	Grace    time.Duration `envconfig:"DRAY_GRACE" default:"25s" desc:"time that chunks at work get to finish when the worker stops"`
	MaxBlock int64         `envconfig:"DRAY_MAX_BLOCK_BYTES" default:"1073741824" desc:"most bytes of a chunk's rows; each slot may hold that many"`
	// A chunk that moves keeps its lease for ever; this bounds it all the same.
	ChunkTimeout time.Duration `envconfig:"DRAY_CHUNK_TIMEOUT" default:"1h" desc:"time that an attempt may take; a chunk that takes longer twice is cut into smaller ones"`
	Strict       bool          `envconfig:"DRAY_STRICT" default:"true" desc:"check every value against the type of its column; false: for measuring only, values are then wrapped, cut and defaulted in silence"`
	WorkDir      string        `envconfig:"DRAY_WORK_DIR" desc:"folder for the pipes to the engine; default: a temporary one"`
	Only         string        `ignored:"true"` // see to this job and no other; empty: to all
}

// SetDefaults fills in what depends on the machine.
func (c *Config) SetDefaults() {
	if c.Slots == 0 {
		c.Slots = runtime.NumCPU()
	}
	if c.ID == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "worker"
		}
		c.ID = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
}

// Validate reports the first value that can not work.
func (c *Config) Validate() error {
	switch {
	case c.Slots < 1 || c.Slots > 1024:
		return fmt.Errorf("DRAY_SLOTS is %d; it must be 1 to 1024", c.Slots)
	case c.Grace < 0:
		return fmt.Errorf("DRAY_GRACE is %s; it must not be negative", c.Grace)
	case c.ChunkTimeout < time.Second:
		return fmt.Errorf("DRAY_CHUNK_TIMEOUT is %s; it must be at least 1s", c.ChunkTimeout)
	case c.MaxBlock < 1<<20:
		return fmt.Errorf("DRAY_MAX_BLOCK_BYTES is %d; it must be at least 1048576", c.MaxBlock)
	}
	return nil
}
