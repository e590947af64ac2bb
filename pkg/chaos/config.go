package chaos

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Config says what is run and how badly it is treated.
type Config struct {
	// Dray and NATS are the commands that start dray, and one NATS server:
	// the latter a program that gives what follows NodeArgument to Node.
	Dray, NATS []string
	// Older, when set, starts a dray of another version: every member but the
	// first coordinator is one at first, and changes between the two whenever it
	// is killed or drained. So a fleet is upgraded, and back, in the middle of
	// everything.
	Older []string
	// Dir is the folder for data and logs. It must not exist or be empty.
	Dir string
	// Seed decides the faults, and the rows of the sources.
	Seed uint64
	// Jobs and Faults are how many there are at least. Jobs go on being
	// submitted while there are faults left, so there may be more.
	Jobs, Faults int
	// Live is how many jobs are there at once.
	Live int
	// Workers, Coordinators and Slots are the fleet.
	Workers, Coordinators, Slots int
	// Shards is how many servers the sharded targets have, which every fifth job
	// loads into; 0: there are none.
	Shards int
	// Chunks is about how many a job has, RowsPerChunk about how many rows.
	Chunks, RowsPerChunk int
	// Bad is the share of rows with a value that does not fit its column, in
	// one of three jobs.
	Bad float64
	// Cancel is the share of jobs that are cancelled half-way. It counts only
	// where dray knows the verb.
	Cancel float64
	// Lease is DRAY_LEASE of the fleet.
	Lease time.Duration
	// Settle is how long everything may take to end once all is healed.
	Settle time.Duration
	// Only and Without choose among Kinds; both empty: all.
	Only, Without []Kind
	// Break takes the fleet's guarantees away, for the test of the checks:
	// no tokens, no look before a chunk is loaded again, no verification.
	Break bool
	// AllLead lets every coordinator believe that it leads.
	AllLead bool
	// Env is added to the environment of every dray, NAME=value.
	Env []string
	// Log gets a line for each fault and each job, as they come.
	Log io.Writer
}

// Long is the configuration of `make chaos`.
func Long() Config {
	return Config{
		Seed: 1, Jobs: 20, Faults: 200, Live: 4,
		Workers: 4, Coordinators: 2, Slots: 2, Shards: 2,
		Chunks: 40, RowsPerChunk: 2000, Cancel: 0.1, Bad: 0.01,
		Lease: 2 * time.Second, Settle: 5 * time.Minute, Log: io.Discard,
	}
}

// Short is the configuration of the test within `make test`.
func Short() Config {
	c := Long()
	// This seed begins with a kill of each sort of process, a stop for longer
	// than the lease, cuts, and both ways to spoil an insert.
	c.Seed = 2577481
	c.Jobs, c.Faults, c.Live = 4, 10, 4
	c.Workers, c.Shards = 2, 0
	c.Chunks, c.RowsPerChunk = 12, 1000
	return c
}

func (c *Config) validate() error {
	switch {
	case len(c.Dray) == 0 || len(c.NATS) == 0 || c.Dir == "":
		return errors.New("the chaos suite needs the commands of dray and NATS, and a folder")
	case c.Jobs < 1 || c.Live < 1 || c.Faults < 0:
		return errors.New("the chaos suite needs at least one job")
	case c.Workers < 1 || c.Coordinators < 1 || c.Slots < 1:
		return errors.New("the chaos suite needs a worker and a coordinator, with a slot")
	case c.Shards < 0:
		return errors.New("the shards are none or more")
	case c.Chunks < 1 || c.RowsPerChunk < 100 || c.Chunks*c.RowsPerChunk > idsPerJob:
		return fmt.Errorf("a job of the chaos suite has 1 to %d rows, and 100 or more in a chunk", idsPerJob)
	case c.Bad < 0 || c.Bad > 0.5 || c.Cancel < 0 || c.Cancel > 1:
		return errors.New("the share of bad rows is 0 to 0.5, that of cancelled jobs 0 to 1")
	case c.Lease < time.Second || c.Settle < c.Lease:
		return errors.New("the lease is at least 1s, and everything needs longer than that to settle")
	}
	for _, k := range slices.Concat(c.Only, c.Without) {
		if !slices.Contains(Kinds(), k) {
			return fmt.Errorf("there is no fault %q; there are %q", k, Kinds())
		}
	}
	if len(c.kinds()) == 0 && c.Faults > 0 {
		return errors.New("no kind of fault is left")
	}
	if c.Log == nil {
		c.Log = io.Discard
	}
	return nil
}

// kinds are those that are enabled.
func (c *Config) kinds() []Kind {
	return slices.DeleteFunc(Kinds(), func(k Kind) bool {
		return len(c.Only) > 0 && !slices.Contains(c.Only, k) || slices.Contains(c.Without, k) || k == CutShard && c.Shards == 0
	})
}
