package clickhouse

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"drayage/pkg/job"
)

// DatabaseEngineError is a database in which tables can not be exchanged at
// once, nor told apart by uuid. Its class is job.Permanent.
type DatabaseEngineError struct{ Database, Engine string }

func (e *DatabaseEngineError) Error() string {
	return fmt.Sprintf("the database %s has the engine %s: only in one with the engine Atomic can a table take the place of another in one step", plainOrQuoted(e.Database), e.Engine)
}

// hook, when it is not nil, is called before and after each statement that
// changes something; its error ends the work there.
type hook func(statement string, done bool) error

func (h hook) call(statement string, done bool) error {
	if h == nil {
		return nil
	}
	return h(statement, done)
}

// mover moves and drops tables of one database, which it knows by uuid.
type mover struct {
	c              *Client
	what, database string
	hook           hook
	met            int // how often others came between
}

// place is where a table is.
type place struct{ name, engine string }

// places is what one look found.
type places struct {
	uuid  string           // of the table with the name that was asked for, "" when there is none
	named map[string]place // of the tables with the uuids that were asked for
}

// check refuses databases without uuids, and a uuid that is none.
func (m *mover) check(ctx context.Context, uuid string) error {
	if !uuidForm.MatchString(uuid) || uuid == noUUID {
		return job.WithClass(fmt.Errorf("%s: %q is no uuid of a table", m.what, uuid), job.Permanent)
	}
	engine := ""
	err := m.c.rows(ctx, m.what, "SELECT engine FROM system.databases WHERE name = "+quoteString(m.database), func(scan scanner) error {
		return scan(&engine)
	})
	switch {
	case err != nil:
		return err
	case engine == "":
		return job.WithClass(fmt.Errorf("%s: there is no database %s: %w", m.what, plainOrQuoted(m.database), ErrNoTable), job.Permanent)
	case engine != "Atomic":
		return job.WithClass(fmt.Errorf("%s: %w", m.what, &DatabaseEngineError{m.database, engine}), job.Permanent)
	}
	return nil
}

const noUUID = "00000000-0000-0000-0000-000000000000"

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// look finds tables by uuid, and the uuid of a name.
func (m *mover) look(ctx context.Context, name string, uuids ...string) (places, error) {
	p := places{named: map[string]place{}}
	// The LIMIT keeps the condition out of the inner query: there it would be
	// applied to names first and to tables later, and lose one that moves.
	err := m.c.rows(ctx, m.what, fmt.Sprintf(`SELECT name, id, engine FROM
(SELECT name, toString(uuid) AS id, engine FROM system.tables WHERE database = %s LIMIT 1000000000)
WHERE name = %s OR id IN (%s)`, quoteString(m.database), quoteString(name), quoteStrings(uuids)), func(scan scanner) error {
		var at place
		var uuid string
		err := scan(&at.name, &uuid, &at.engine)
		if at.name == name {
			p.uuid = uuid
		}
		p.named[uuid] = at
		return err
	})
	return p, err
}

// retire takes the table of a uuid away from a name and drops it. A name that
// is for dropping already holds this table or none. When the RENAME met
// another table, that is put back, but for the one of the uuid expected, which
// the caller finds.
func (m *mover) retire(ctx context.Context, name, uuid, base, expected string) error {
	if dropName(name) {
		return m.drop(ctx, name)
	}
	to := freshName(base, oldMark, uuid)
	if err := m.rename(ctx, name, to); err != nil {
		return err
	}
	at, err := m.look(ctx, to, uuid)
	switch {
	case err != nil:
		return err
	case at.uuid == uuid:
		return m.drop(ctx, to)
	case at.uuid == "" || at.uuid == expected:
		return nil
	}
	return m.rename(ctx, to, name)
}

func (m *mover) drop(ctx context.Context, name string) error {
	return m.do(ctx, "DROP TABLE "+m.sql(name))
}

func (m *mover) rename(ctx context.Context, from, to string) error {
	return m.do(ctx, "RENAME TABLE "+m.sql(from)+" TO "+m.sql(to))
}

func (m *mover) sql(name string) string { return Table{m.database, name}.SQL() }

// do runs a statement. The server's limit on the size of what is dropped is
// against mistakes with names, and it is the uuid that goes here.
func (m *mover) do(ctx context.Context, statement string) error {
	return m.c.execSized(ctx, m.what, statement, m.hook)
}

// dropLimits are the limits on the size of what a statement may drop. Not
// every supported version has them as settings of a query.
func dropLimits() []string { return []string{"max_table_size_to_drop", "max_partition_size_to_drop"} }

// execSized runs a statement that drops what may be large.
func (c *Client) execSized(ctx context.Context, what, sql string, h hook) error {
	if err := h.call(sql, false); err != nil {
		return err
	}
	s := statement{sql: sql, settings: map[string]string{}}
	for _, name := range dropLimits() {
		if c.known[name] {
			s.settings[name] = "0"
		}
	}
	if err := c.call(ctx, what, func() error { return c.wire.run(ctx, s, nil) }); err != nil {
		return err
	}
	return h.call(sql, true)
}

// Marks in the names that tables are moved to.
const (
	oldMark = "_dray_old_" // to be dropped
	newMark = "_dray_new_"
)

// maxNameBase bounds what a moved table keeps of its name: the server makes
// file names of names.
const maxNameBase = 60

// freshName is a name that nobody else uses, ever.
func freshName(base, mark, uuid string) string {
	if len(base) > maxNameBase {
		base = base[:maxNameBase]
		for !utf8.ValidString(base) && base != "" {
			base = base[:len(base)-1]
		}
	}
	return base + mark + uuid[:8] + "_" + strings.ToLower(rand.Text())
}

var freshForm = regexp.MustCompile(`(_dray_old_|_dray_new_)[0-9a-f]{8}_[a-z2-7]{26}$`)

// markOf is the mark of a name that freshName made, "" for another name.
func markOf(name string) string {
	if m := freshForm.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return ""
}

// dropName reports whether freshName made the name for a table to be dropped.
func dropName(name string) bool { return markOf(name) == oldMark }
