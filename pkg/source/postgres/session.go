package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed"
)

// connectPatience bounds how long a connection takes to be made.
const connectPatience = 20 * time.Second

// keepAlive finds out that the server is gone; it is what the client has itself.
const keepAlive = 5 * time.Minute

// begin begins a transaction that sees the table as of one moment, and in which
// values have one text whatever the server and the user are set to. SET LOCAL
// ends with it, so that a pooler may give the connection to others after.
const begin = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL client_encoding = 'UTF8';
SET LOCAL standard_conforming_strings = on;
SET LOCAL DateStyle = 'ISO, YMD';
SET LOCAL TimeZone = 'UTC';
SET LOCAL IntervalStyle = 'postgres';
SET LOCAL extra_float_digits = 3;
SET LOCAL bytea_output = 'hex';
SET LOCAL synchronize_seqscans = off;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL jit = off;
`

// session is a connection within one transaction. It takes one seat.
type session struct {
	cfg     keyed.Config
	conn    *pgconn.PgConn
	ctx     context.Context //nolint:containedctx // of the seat
	release func()
}

// connect takes a seat and begins a transaction.
func connect(ctx context.Context, to keyed.Config) (keyed.Session, error) {
	held, release, err := to.Seats.Take(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: waiting for a seat at PostgreSQL: %w", to.Name(), err)
	}
	cfg, err := server(to)
	if err != nil {
		release()
		if errors.As(err, new(*job.RefusedError)) {
			return nil, fmt.Errorf("%s: %w", to.Name(), err)
		}
		// The error may hold the password.
		return nil, job.Permanentf("%s: the url is not an address of PostgreSQL, or names a file that can not be read", to.Name())
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectPatience
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "drayage"
	}
	conn, err := pgconn.ConnectConfig(held, cfg)
	if err != nil {
		if held.Err() != nil {
			err = context.Cause(held)
		}
		release()
		return nil, classify(to.Name()+": connecting", err)
	}
	c := &session{cfg: to, conn: conn, ctx: held, release: release}
	if _, err := c.Rows("beginning to read", begin); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// goodbye bounds how long the end of a connection is waited for.
const goodbye = 2 * time.Second

// terminate is the message that ends a connection.
var terminate = []byte{'X', 0, 0, 0, 4}

// Close implements keyed.Session: it ends the connection, and gives the seat back
// once the server has ended it too. The client's own Close does not wait for that,
// and another one would find the server with one connection more than there are
// seats.
func (c *session) Close() {
	if own, err := c.conn.Hijack(); err == nil {
		defer c.release()
		defer func() { _ = own.Conn.Close() }() // nothing is lost by it
		if own.Conn.SetDeadline(time.Now().Add(goodbye)) != nil {
			return
		}
		if _, err := own.Conn.Write(terminate); err == nil {
			_, _ = io.Copy(io.Discard, own.Conn) // until the server has closed it
		}
		return
	}
	// A statement broke off: the client asks the server to cancel it, and reads
	// until the server has closed the connection, or for 15 seconds.
	select {
	case <-c.conn.CleanupDone():
		c.release()
	case <-time.After(goodbye):
		go func() {
			<-c.conn.CleanupDone()
			c.release()
		}()
	}
}

// failed is the error of a statement. Where the connection had to be left, that
// is why.
func (c *session) failed(doing string, err error) error {
	if err != nil && c.ctx.Err() != nil {
		err = context.Cause(c.ctx)
	}
	return classify(c.cfg.Name()+": "+doing, err)
}

// Rows implements keyed.Session; of several statements the answer is that of the
// last.
func (c *session) Rows(doing, sql string) ([]keyed.Row, error) {
	results, err := c.conn.Exec(c.ctx, sql).ReadAll()
	if err != nil {
		return nil, c.failed(doing, err)
	}
	var all []keyed.Row
	if len(results) > 0 {
		for _, r := range results[len(results)-1].Rows {
			all = append(all, r)
		}
	}
	return all, nil
}

// One implements keyed.Session.
func (c *session) One(doing, sql string) (keyed.Row, error) {
	all, err := c.Rows(doing, sql)
	return keyed.One(c.cfg.Name()+": "+doing, all, err)
}
