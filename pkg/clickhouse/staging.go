package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"drayage/pkg/job"
)

// StructureError is a table that exists under the name of a staging table and
// is not like its target. Its class is job.Permanent.
type StructureError struct {
	Table, Like Table
	Differ      []string // what differs, to be read
}

func (e *StructureError) Error() string {
	return fmt.Sprintf("table %s is there already and is not like %s: %s. When it is left over from another job, drop it", e.Table, e.Like, strings.Join(e.Differ, "; "))
}

// CreateLike makes an empty table with the columns, provenance among them, the
// keys, the engine, the indices and the settings of another, the deduplication
// window among them, and returns what it is like. No materialized view is fed
// by it, and its rows are in no query of the other's. Any number of callers
// may do it at once; a table that is there already with the same structure is
// left alone, with its rows, and one with another is a *StructureError.
func (c *Client) CreateLike(ctx context.Context, staging, like Table) (TableInfo, error) {
	staging, like = c.qualify(staging), c.qualify(like)
	what := fmt.Sprintf("creating table %s like %s", staging, like)
	info, err := c.Describe(ctx, like)
	if err != nil {
		return TableInfo{}, err
	}
	if !strings.HasSuffix(info.Engine, "MergeTree") {
		return TableInfo{}, job.WithClass(fmt.Errorf("%s: %w", what, &EngineError{like, info.Engine}), job.Permanent)
	}
	if err := c.exec(ctx, what, "", "CREATE TABLE IF NOT EXISTS "+staging.SQL()+" AS "+like.SQL()); err != nil {
		return TableInfo{}, err
	}
	made, err := c.Describe(ctx, staging)
	if err != nil {
		return TableInfo{}, err
	}
	var differ []string
	if made.EngineFull != info.EngineFull {
		differ = append(differ, fmt.Sprintf("its engine is %s, and not %s", made.EngineFull, info.EngineFull))
	}
	want, err := c.columnTexts(ctx, what, like)
	if err != nil {
		return TableInfo{}, err
	}
	have, err := c.columnTexts(ctx, what, staging)
	if err != nil {
		return TableInfo{}, err
	}
	for _, text := range have {
		if !slices.Contains(want, text) {
			differ = append(differ, "it has "+text)
		}
	}
	for _, text := range want {
		if !slices.Contains(have, text) {
			differ = append(differ, "it lacks "+text)
		}
	}
	if len(differ) == 0 {
		same, err := c.sameBody(ctx, what, staging, like)
		if err != nil {
			return TableInfo{}, err
		}
		if !same {
			differ = append(differ, "its indices, projections, constraints or comments are others")
		}
	}
	if len(differ) > 0 {
		return TableInfo{}, job.WithClass(fmt.Errorf("%s: %w", what, &StructureError{staging, like, differ}), job.Permanent)
	}
	return made, nil
}

// sameBody reports whether all that CREATE TABLE writes in brackets after the
// name is the same for two tables of the same columns.
func (c *Client) sameBody(ctx context.Context, what string, a, b Table) (bool, error) {
	var bodies []string
	err := c.rows(ctx, what, "SELECT create_table_query FROM system.tables WHERE (database, name) IN (("+
		quoteStrings([]string{a.Database, a.Name})+"), ("+quoteStrings([]string{b.Database, b.Name})+"))", func(scan scanner) error {
		var create string
		err := scan(&create)
		bodies = append(bodies, bodyOf(create))
		return err
	})
	return len(bodies) == 2 && bodies[0] == bodies[1], err
}

// columnTexts writes each column as a CREATE would.
func (c *Client) columnTexts(ctx context.Context, what string, t Table) ([]string, error) {
	var out []string
	err := c.rows(ctx, what, `SELECT trim(concat(name, ' ', type, ' ', default_kind, ' ', default_expression, ' ', compression_codec)) FROM system.columns
WHERE database = `+quoteString(t.Database)+` AND table = `+quoteString(t.Name)+` ORDER BY position`, func(scan scanner) error {
		var text string
		err := scan(&text)
		out = append(out, text)
		return err
	})
	return out, err
}

// DropStaging drops the table of a uuid when it is under the name of staging,
// or under one that SwapIn or DropStaging gave to it on the way. One that SwapIn
// made the target is under another name, and is left alone. It may be called again at any time, and by
// several processes at once; after a nil error no table of that uuid is left
// under the name of staging. What is under that name with another uuid stays.
// Statements of others that name the staging table fail from here on, so that
// a late one can not publish it.
func (c *Client) DropStaging(ctx context.Context, staging Table, uuid string) error {
	return c.dropStaging(ctx, staging, uuid, nil)
}

func (c *Client) dropStaging(ctx context.Context, staging Table, uuid string, h hook) error {
	staging = c.qualify(staging)
	m := &mover{c: c, what: "dropping the staging table " + staging.String(), database: staging.Database, hook: h}
	if err := m.check(ctx, uuid); err != nil {
		return err
	}
	absent := 0
	for range swapRounds {
		at, err := m.look(ctx, staging.Name, uuid)
		if err != nil {
			return err
		}
		name := at.named[uuid].name
		if name == "" || name != staging.Name && markOf(name) == "" {
			if absent++; absent == absentLooks {
				return nil
			}
			if err := pause(ctx, m.what, 1); err != nil {
				return err
			}
			continue
		}
		absent = 0
		err = m.retire(ctx, name, uuid, staging.Name, uuid)
		if moved(err) {
			m.met++
			err = pause(ctx, m.what, m.met)
		}
		if err != nil {
			return err
		}
	}
	return job.WithClass(fmt.Errorf("%s: something kept moving it, %d times", m.what, swapRounds), job.Retry)
}
