package postgres

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// The errors of this package, what they are for a chunk, and why. Each names
// the table, and none a password.
//
//	what happened (SQLSTATE)                             class      errors.Is
//	---------------------------------------------------  ---------  -----------
//	wrong user or password (28), no such database (3D)   Permanent
//	no such table, column or function, no right, a       Permanent
//	 mistake in SQL (42, 0A, 25006)
//	a value that the query can not compute (22), or      Permanent
//	 that is too large for PostgreSQL to write (54)
//	a table, of the query too, is gone after the plan    Permanent  ErrGone
//	columns have other names or types than planned       Permanent  ErrChanged
//	the table was rewritten while it is being opened     Retry
//	the table was rewritten while it is read by blocks   Permanent  ErrChanged
//	the certificate of the server is not trusted         Permanent
//	a cursor or a chunk does not parse                   Permanent
//	too many connections (53300)                         SlowDown
//	other resources are short (53), a statement was      Retry
//	 cancelled or timed out (57014), serialization or
//	 deadlock (40), the server stops or starts (57P),
//	 a lock that is not to be had (55P03)
//	no connection, or it broke (08 and the network's)    Retry
//	anything else                                        Retry

// verdicts are the classes by SQLSTATE, the longest prefix first; what is not
// among them is tried again.
var verdicts = []struct {
	prefix string
	class  job.Class
	hint   string
}{
	{"53300", job.SlowDown, "bound the connections with limits.lease, or raise max_connections"},
	{"25006", job.Permanent, "a source only reads: the query must not write"},
	{"42501", job.Permanent, "grant SELECT on it, and USAGE on its schema, to the user of the url"},
	{"42P01", job.Permanent, "write schema.table, with capital letters in double quotes"},
	{"57014", job.Retry, "smaller chunks, or a larger statement_timeout of the user, help against timeouts"},
	{"28", job.Permanent, "look at the user and password of the url and at pg_hba.conf"},
	{"3D", job.Permanent, "look at the database of the url"},
	{"42", job.Permanent, ""},
	{"22", job.Permanent, ""},
	{"0A", job.Permanent, ""},
	{"54", job.Permanent, ""},
}

// undefinedTable and undefinedColumn are SQLSTATEs.
const (
	undefinedTable  = "42P01"
	undefinedColumn = "42703"
)

// state is the SQLSTATE of an error, "" when the server did not make it.
func state(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// classify marks an error of the client, and says what was being done.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		text := pg.Message
		if pg.Detail != "" {
			text += ": " + pg.Detail
		}
		for _, v := range verdicts {
			if !strings.HasPrefix(pg.Code, v.prefix) {
				continue
			}
			if v.hint != "" {
				text += "; " + v.hint
			}
			return job.WithClass(&serverError{doing: doing, text: text, err: pg}, v.class)
		}
		return job.WithClass(&serverError{doing: doing, text: text, err: pg}, job.Retry)
	}
	if source.Untrusted(err) {
		return job.Permanentf("%s: %w", doing, err)
	}
	return job.Retryf("%s: %w", doing, err)
}

// serverError is what the server answered, with what to do.
type serverError struct {
	doing, text string
	err         *pgconn.PgError
}

func (e *serverError) Error() string {
	return fmt.Sprintf("%s: %s (SQLSTATE %s)", e.doing, e.text, e.err.Code)
}

func (e *serverError) Unwrap() error { return e.err }
