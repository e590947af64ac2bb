// Package coordinator takes jobs in, freezes what they depend on, plans their
// chunks into the queue, adds up the results, asks ClickHouse for proof and
// moves each job from state to state. Everything it knows is in JetStream and
// ClickHouse: a coordinator that dies is continued by the next one.
package coordinator

import (
	"fmt"
	"time"
)

// Config is the coordinator's configuration.
type Config struct {
	Window      int           `envconfig:"DRAY_PLAN_WINDOW" default:"10000" desc:"chunks of a job that are planned and not yet done, at most"`
	InFlight    int           `envconfig:"DRAY_IN_FLIGHT" default:"256" desc:"chunks of a job at the workers at once, at most, where the pipeline names no limits.in_flight"`
	Account     time.Duration `envconfig:"DRAY_ACCOUNT_EVERY" default:"500ms" desc:"pause between two writes of a job's totals and of the ledger"`
	Lead        time.Duration `envconfig:"DRAY_LEAD_TTL" default:"5s" desc:"how long the coordinators wait for the one that leads before another does"`
	Hedge       time.Duration `envconfig:"DRAY_HEDGE_AFTER" default:"15s" desc:"near the end of a job, a chunk that takes this long and three times the median is given to a second worker too; 0: never"`
	LookupRows  uint64        `envconfig:"DRAY_LOOKUP_ROWS" default:"10000000" desc:"rows of a lookup, at most"`
	LookupBytes int64         `envconfig:"DRAY_LOOKUP_BYTES" default:"1073741824" desc:"bytes of a lookup, at most: of its file, or of its rows without compression. Every worker has it in memory"`
	First       uint64        `ignored:"true"` // plan no more chunks of a job than this; 0: all
	Only        string        `ignored:"true"` // see to this job and no other, and without asking who leads; empty: to all
}

// Validate reports the first value that can not work, alone or with another.
func (c *Config) Validate() error {
	switch {
	case c.Window < 1 || c.Window > 1_000_000:
		return fmt.Errorf("DRAY_PLAN_WINDOW is %d; it must be 1 to 1000000", c.Window)
	case c.InFlight < 1 || c.InFlight > c.Window:
		return fmt.Errorf("DRAY_IN_FLIGHT is %d; it must be 1 to DRAY_PLAN_WINDOW (%d)", c.InFlight, c.Window)
	case c.Account < 10*time.Millisecond:
		return fmt.Errorf("DRAY_ACCOUNT_EVERY is %s; it must be at least 10ms", c.Account)
	case c.Lead < time.Second:
		return fmt.Errorf("DRAY_LEAD_TTL is %s; it must be at least 1s", c.Lead)
	case c.LookupRows < 1:
		return fmt.Errorf("DRAY_LOOKUP_ROWS is %d; it must be at least 1", c.LookupRows)
	case c.LookupBytes < 1:
		return fmt.Errorf("DRAY_LOOKUP_BYTES is %d; it must be at least 1", c.LookupBytes)
	case c.Hedge < 0:
		return fmt.Errorf("DRAY_HEDGE_AFTER is %s; it must not be negative", c.Hedge)
	}
	return nil
}
