package mysql

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"drayage/pkg/job"
	"drayage/pkg/source/keyed"
)

const (
	// connectPatience bounds how long a connection takes to be made.
	connectPatience = 20 * time.Second
	// goodbye bounds how long the end of a connection is waited for.
	goodbye = 2 * time.Second
	// pause is between two looks at whether a statement has ended.
	pause = 5 * time.Millisecond
)

// begin begins a transaction that sees the tables as of one moment, and in which
// values have one text whatever the server and the user are set to. The server
// may wait ten minutes for the engine to read on.
var begin = []string{
	"SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = '', sql_select_limit = 18446744073709551615, net_write_timeout = 600",
	"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
	"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
}

// session is a connection within one transaction. It takes one seat.
type session struct {
	cfg     keyed.Config
	table   tableName // that is read, if any
	conn    client
	ctx     context.Context //nolint:containedctx // of the seat
	release func()
	mark    string // a comment that begins its statements, and nobody else's
	thread  string // its number at the server, or another's behind a proxy
	polite  *atomic.Bool
	busy    bool // a statement has not ended
}

// client is what the client's connections can do.
type client interface {
	driver.Conn
	driver.QueryerContext
}

// connect takes a seat and begins a transaction.
func connect(ctx context.Context, cfg keyed.Config) (keyed.Session, error) {
	held, release, err := cfg.Seats.Take(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: waiting for a seat at MySQL: %w", cfg.Name(), err)
	}
	c := &session{cfg: cfg, ctx: held, release: release, mark: "/* drayage " + rand.Text() + " */ ", polite: new(atomic.Bool)}
	if c.conn, err = dial(held, cfg, c.polite, false); err != nil {
		if held.Err() != nil {
			err = context.Cause(held)
		}
		release()
		return nil, classify(cfg.Name()+": connecting", err)
	}
	for _, statement := range begin {
		if _, err := c.Rows("beginning to read", statement); err != nil {
			c.Close()
			return nil, err
		}
	}
	thread, err := c.One("beginning to read", "SELECT CONNECTION_ID()")
	if err != nil {
		c.Close()
		return nil, err
	}
	c.thread = thread.Text(0)
	return c, nil
}

// dial makes a connection; once polite is set its Close waits for the server. A
// bare one has no database, and reads no table.
func dial(ctx context.Context, to keyed.Config, polite *atomic.Bool, bare bool) (client, error) {
	cfg, err := parseURL(to.URL, to.Allow)
	if err != nil {
		return nil, job.Permanentf("the url %w", err)
	}
	if bare {
		cfg.DBName = ""
	}
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := to.Allow.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &awaited{Conn: conn, polite: polite}, nil
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, job.Permanentf("the url is not an address of MySQL")
	}
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c, ok := conn.(client)
	if !ok {
		return nil, job.Permanentf("the client of MySQL can not be cancelled")
	}
	return c, nil
}

// awaited is a connection whose Close may wait until the server has ended it
// too. Otherwise the next one would find the server with one connection more
// than there are seats.
type awaited struct {
	net.Conn
	polite *atomic.Bool
}

// Close implements net.Conn.
func (a *awaited) Close() error {
	if a.polite.Load() && a.SetDeadline(time.Now().Add(goodbye)) == nil {
		_, _ = io.Copy(io.Discard, a.Conn)
	}
	return a.Conn.Close()
}

// Close implements keyed.Session: it ends the connection too, and gives the seat
// back.
func (c *session) Close() {
	defer c.release()
	if !c.busy {
		c.polite.Store(true)
		_ = c.conn.Close() // nothing is lost by it
		return
	}
	c.abandon()
}

// abandon leaves a statement. The server would notice only when it has rows to
// send, which may be after a long sort; so it is told to end the thread, over one
// more connection for a moment. What is ended is found by the mark of its statement,
// for behind a proxy the thread's number may be another one's. Its end is waited for
// by both: a thread without a statement is a connection until it has gone.
func (c *session) abandon() {
	_ = c.conn.Close() // of which nothing more is read
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), goodbye)
	defer cancel()
	other := &session{cfg: c.cfg, ctx: ctx, polite: new(atomic.Bool)}
	var err error
	if other.conn, err = dial(ctx, c.cfg, other.polite, true); err != nil {
		return
	}
	marked := "COALESCE(info LIKE " + literal(c.mark+"%") + ", 0)"
	left := "SELECT id, " + marked + " FROM information_schema.processlist WHERE (" + marked + " OR id = " + literal(c.thread) + ") AND id <> CONNECTION_ID()"
	for {
		threads, err := other.Rows("looking for a statement that was left", left)
		if err != nil || len(threads) == 0 {
			break
		}
		for _, t := range threads {
			if id, err := strconv.ParseUint(t.Text(0), 10, 64); err == nil && t.Number(1) == 1 {
				_, _ = other.Rows("ending a statement that was left", fmt.Sprintf("KILL %d", id)) // it may have ended
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	other.polite.Store(ctx.Err() == nil)
	_ = other.conn.Close() // nothing is lost by it
}

// failed is the error of a statement. Where the connection had to be left, that
// is why.
func (c *session) failed(doing string, err error) error {
	if err != nil && c.ctx.Err() != nil {
		err = context.Cause(c.ctx)
	}
	return classify(c.cfg.Name()+": "+doing, err)
}

// query begins a statement. Its rows are read to their end, or the session is
// closed.
func (c *session) query(sql string) (driver.Rows, error) {
	c.busy = true
	rows, err := c.conn.QueryContext(c.ctx, c.mark+sql, nil)
	c.ended(err)
	if err == nil {
		c.busy = true
	}
	return rows, err
}

// ended takes note of how a statement ended: with rows or an error of the
// server, or the connection broke.
func (c *session) ended(err error) {
	if err == nil || errors.Is(err, io.EOF) || number(err) != 0 {
		c.busy = false
	}
}

// Rows implements keyed.Session.
func (c *session) Rows(doing, sql string) ([]keyed.Row, error) {
	answer, err := c.query(sql)
	if err != nil {
		return nil, c.failed(doing, err)
	}
	var all []keyed.Row
	dest := make([]driver.Value, len(answer.Columns()))
	for {
		if err = answer.Next(dest); err != nil {
			break
		}
		r := make(keyed.Row, len(dest))
		for i, v := range dest {
			if v != nil {
				r[i] = appendText([]byte{}, v, bits64)
			}
		}
		all = append(all, r)
	}
	c.ended(err)
	if errors.Is(err, io.EOF) {
		err = answer.Close()
	}
	if err != nil {
		return nil, c.failed(doing, err)
	}
	return all, nil
}

// One implements keyed.Session.
func (c *session) One(doing, sql string) (keyed.Row, error) {
	all, err := c.Rows(doing, sql)
	return keyed.One(c.cfg.Name()+": "+doing, all, err)
}
