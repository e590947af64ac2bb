package mysql

import (
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// The errors of this package, what they are for a chunk, and why. Each names
// the table, and none a password.
//
//	what happened                                        class      errors.Is
//	---------------------------------------------------  ---------  -----------
//	wrong user or password, no such database             Permanent
//	no such table, column or function, no right, a       Permanent
//	 mistake in SQL, a value that can not be computed
//	a table, of the query too, is gone after the plan    Permanent  ErrGone
//	columns have other names or types than planned, the  Permanent  ErrChanged
//	 key another collation, a view's table is gone
//	a character that has no place in Unicode             Permanent
//	the certificate of the server is not trusted, or it  Permanent
//	 has no TLS, or wants to be sent the bare password
//	a cursor or a chunk does not parse                   Permanent
//	too many connections, of the server or of the user   SlowDown
//	reading a chunk took longer than the server allows   TooBig
//	a lock was not to be had, a deadlock, the statement  Retry
//	 was killed, the table is just being altered, the
//	 server stops or starts
//	no connection, or it broke                           Retry
//	anything else                                        Retry

// verdict is what an error number means, with what to do.
type verdict struct {
	class job.Class
	hint  string
}

// Error numbers that are looked for by name.
const (
	errBadField       = 1054
	errNoSuchTable    = 1146
	errStatementTime  = 1969 // of MariaDB
	errExecutionTime  = 3024 // of MySQL
	errViewInvalid    = 1356
	errTableDefChange = 1412
)

// verdicts are the classes by error number; what is not among them is tried
// again.
var verdicts = func() map[uint16]verdict {
	const login = "look at the user and password of the url, and from which hosts the user may come"
	const grant = "grant SELECT on it to the user of the url"
	all := map[uint16]verdict{
		1040: {job.SlowDown, "bound the connections with limits.lease, or raise max_connections"},
		1203: {job.SlowDown, "bound the connections with limits.lease, or raise max_user_connections"},
		1226: {job.SlowDown, "bound the connections with limits.lease, or raise what the user may use"},
		1044: {job.Permanent, "grant SELECT on the database to the user of the url"},
		1045: {job.Permanent, login}, 1130: {job.Permanent, login}, 1698: {job.Permanent, login},
		1049: {job.Permanent, "look at the database of the url"},
		1142: {job.Permanent, grant}, 1143: {job.Permanent, grant}, 1370: {job.Permanent, "grant EXECUTE on it to the user of the url"},
		1227: {job.Permanent, ""}, 1345: {job.Permanent, grant},
		1792:             {job.Permanent, "a source only reads: the query must not write"},
		errNoSuchTable:   {job.Permanent, "write database.table, in the case that the server wants"},
		errViewInvalid:   {job.Permanent, ""},
		errStatementTime: {job.Retry, "smaller chunks, or a larger max_statement_time of the user, help"},
		errExecutionTime: {job.Retry, "smaller chunks, or a larger max_execution_time, help"},
	}
	for _, number := range []uint16{
		1046, 1052, errBadField, 1055, 1056, 1060, 1064, 1066, 1109, 1110, 1111, 1112, 1115, 1120, 1140, 1149, 1163, 1166, // mistakes in SQL
		1176, 1191, 1193, 1221, 1222, 1235, 1239, 1241, 1242, 1247, 1248, 1250, 1253, 1267, 1270, 1271, 1273, 1295, 1305, 1314, 1318,
		1347, 1425, 1426, 1427, 1525, 1582, 1583, 1584, 1630,
		1264, 1292, 1365, 1366, 1367, 1411, 1441, 1690, 3140, 3141, 3143, 3146, 3147, 3150, // values that are not to be computed
		1251, 1524, 1820, 1862, 1873, 3118, 4151, 4161, // ways to log in
	} {
		if _, known := all[number]; !known {
			all[number] = verdict{job.Permanent, ""}
		}
	}
	return all
}()

// number is the error number of the server, 0 when it did not make the error.
func number(err error) uint16 {
	var my *mysql.MySQLError
	if errors.As(err, &my) {
		return my.Number
	}
	return 0
}

// classify marks an error of the client, and says what was being done.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	var my *mysql.MySQLError
	if errors.As(err, &my) {
		v := verdicts[my.Number] // Retry, where it is not there
		return job.WithClass(&serverError{doing: doing, hint: v.hint, err: my}, v.class)
	}
	wrapped := fmt.Errorf("%s: %w", doing, err)
	if job.ClassOf(err) == job.Permanent {
		return wrapped
	}
	for _, hopeless := range []error{
		mysql.ErrNoTLS, mysql.ErrCleartextPassword, mysql.ErrNativePassword, mysql.ErrOldPassword, mysql.ErrOldProtocol, mysql.ErrUnknownPlugin,
	} {
		if errors.Is(err, hopeless) {
			return job.WithClass(wrapped, job.Permanent)
		}
	}
	if source.Untrusted(err) {
		return job.WithClass(wrapped, job.Permanent)
	}
	return job.WithClass(wrapped, job.Retry)
}

// serverError is what the server answered, with what to do.
type serverError struct {
	doing, hint string
	err         *mysql.MySQLError
}

func (e *serverError) Error() string {
	text := fmt.Sprintf("%s: %s (error %d)", e.doing, e.err.Message, e.err.Number)
	if e.hint != "" {
		text += "; " + e.hint
	}
	return text
}

func (e *serverError) Unwrap() error { return e.err }
