package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"drayage/pkg/job"
)

// SwapSpec says which table takes the place of which.
type SwapSpec struct {
	// Target is the name that readers use. Staging is the name under which
	// the new table was filled; it must be of the same database, and should be
	// of one job only, since inserts find it by name.
	Target, Staging Table
	// StagingUUID is the table that shall be Target, TargetUUID the one that
	// was Target when the job began; "" when there was none.
	StagingUUID, TargetUUID string
}

// TakenError is a target that is neither the table that shall be replaced nor
// the one that shall replace it: somebody made another. Nothing of it was
// touched. Its class is job.Permanent.
type TakenError struct {
	Table       Table
	Found, Want string // uuids
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("table %s is not the one that this job began with: its uuid is %s and was %s. Somebody made or swapped it meanwhile; start the job anew", e.Table, e.Found, e.Want)
}

// ReplicatedError is a table that replicates itself in a database that does
// not: it would be swapped on one replica, and the others would keep the old
// one. Its class is job.Permanent.
type ReplicatedError struct {
	Table  Table
	Engine string
}

func (e *ReplicatedError) Error() string {
	return fmt.Sprintf("table %s has the engine %s: to put another in its place on this server would leave the other replicas with the old one; replace its partitions instead", e.Table, e.Engine)
}

// swapRounds bounds how often SwapIn looks and acts. A swap alone takes 4
// rounds; the others are for those who do the same at the same time.
const swapRounds = 60

// SwapIn makes the table of StagingUUID the Target, and drops the one of
// TargetUUID. It goes by what it finds, whatever was done before: it may be
// called again after any error and any crash, and by several processes at once.
// After a nil error Target is the table of StagingUUID, and none of TargetUUID
// is there.
//
// Readers of Target see the old table or the new one, never none and never a
// mixture: EXCHANGE TABLES is atomic. A table is dropped only under a name
// that a RENAME gave to it, that no EXCHANGE ever names and that is used once:
// what is found there can not become another table before it is dropped. An
// EXCHANGE that comes late either fails, since the table is not under the name
// of Staging any more, or is seen and undone by whoever has yet to return.
//
// It is *DatabaseEngineError where EXCHANGE is not atomic, *TakenError when
// Target is a third table, and ErrNoTable when there is no table of
// StagingUUID, and *ReplicatedError for tables that replicate themselves: all of
// job.Permanent. The server's limit on the size of a table that may be dropped
// is lifted for the old one.
//
// Materialized views and dictionaries that name Target go on with the new
// table. Views were not fed by what was loaded into the staging table, and keep
// what the old one had fed them.
func (c *Client) SwapIn(ctx context.Context, spec SwapSpec) error {
	return c.swapIn(ctx, spec, nil)
}

func (c *Client) swapIn(ctx context.Context, spec SwapSpec, h hook) error {
	spec.Target, spec.Staging = c.qualify(spec.Target), c.qualify(spec.Staging)
	s := &mover{c: c, what: fmt.Sprintf("putting %s in the place of %s", spec.Staging, spec.Target), database: spec.Target.Database, hook: h}
	if spec.Staging.Database != spec.Target.Database {
		return job.WithClass(fmt.Errorf("%s: both must be in one database", s.what), job.Permanent)
	}
	if spec.StagingUUID == spec.TargetUUID {
		return job.WithClass(fmt.Errorf("%s: both are the table of uuid %q", s.what, spec.TargetUUID), job.Permanent)
	}
	if err := s.check(ctx, spec.StagingUUID); err != nil {
		return err
	}
	settled := 0
	for range swapRounds {
		at, err := s.look(ctx, spec.Target.Name, spec.StagingUUID, spec.TargetUUID)
		if err != nil {
			return err
		}
		staging, old := at.named[spec.StagingUUID], at.named[spec.TargetUUID]
		if spec.TargetUUID == "" {
			old = place{}
		}
		switch {
		case staging.name == "", at.uuid == spec.StagingUUID && old.name == "":
			if settled++; settled < absentLooks {
				if err := pause(ctx, s.what, 1); err != nil {
					return err
				}
				continue
			}
			if staging.name == "" {
				return job.WithClass(fmt.Errorf("%s: the table of uuid %s: %w", s.what, spec.StagingUUID, ErrNoTable), job.Permanent)
			}
			return nil
		case replicated(staging.engine):
			return job.WithClass(fmt.Errorf("%s: %w", s.what, &ReplicatedError{spec.Target, staging.engine}), job.Permanent)
		case at.uuid == spec.StagingUUID:
			err = s.retire(ctx, old.name, spec.TargetUUID, spec.Target.Name, spec.StagingUUID)
		case dropName(staging.name):
			// A RENAME that was meant for the old table met this one. No
			// EXCHANGE may name a name that is for dropping.
			err = s.rename(ctx, staging.name, freshName(spec.Staging.Name, newMark, spec.StagingUUID))
		case at.uuid == "":
			err = s.rename(ctx, staging.name, spec.Target.Name)
		case at.uuid == spec.TargetUUID:
			err = s.do(ctx, "EXCHANGE TABLES "+spec.Target.SQL()+" AND "+s.sql(staging.name))
		default:
			return job.WithClass(fmt.Errorf("%s: %w", s.what, &TakenError{spec.Target, at.uuid, spec.TargetUUID}), job.Permanent)
		}
		settled = 0
		if moved(err) {
			s.met++
			err = pause(ctx, s.what, s.met)
		}
		if err != nil {
			return err
		}
	}
	return job.WithClass(fmt.Errorf("%s: something kept moving the tables, %d times", s.what, swapRounds), job.Retry)
}

// absentLooks is how often in a row a table must not be seen before it counts
// as absent: system.tables reads names first and tables later, and one that is
// renamed in between is in neither.
const absentLooks = 3

// moved reports whether a statement found the tables not where they were a
// moment before.
func moved(err error) bool {
	var x *Exception
	if !errors.As(err, &x) {
		return false
	}
	switch x.Code {
	case codeTableAlreadyExists, codeUnknownTable, codeTableIsDropped, codeDeadlockAvoided:
		return true
	}
	return false
}

// pause waits for a random moment, which grows with round, so that two who do
// the same in step do not undo one another for ever.
func pause(ctx context.Context, what string, round int) error {
	limit := time.Millisecond << min(round, 8)
	timer := time.NewTimer(rand.N(limit)) //nolint:gosec // no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return job.WithClass(fmt.Errorf("%s: %w", what, context.Cause(ctx)), job.Retry)
	}
}
