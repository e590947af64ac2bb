// Package clickhouse is the only place that talks to ClickHouse with
// clickhouse-go: it connects, describes and creates tables, loads Native
// blocks exactly once, keeps the ledger, and asks ClickHouse for the proof.
//
// Retries are the caller's. Every error says what was being done, carries its
// job.Class, wraps an *Exception where ClickHouse reported one, and never
// shows a password.
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"drayage/pkg/job"
)

// Oldest version of ClickHouse that is known to deduplicate by token through
// materialized views.
const (
	minMajor = 24
	minMinor = 8
)

// wire is the way to a server: HTTP or the native protocol. Both give the same.
// Its errors are as they come; call makes of them what a caller gets.
type wire interface {
	// run runs a statement, and calls each for every row of its result. With
	// nil, the result does not matter.
	run(ctx context.Context, s statement, each func(scanner) error) error
	// stream runs a statement and writes its result in a format of ClickHouse.
	stream(ctx context.Context, s statement, format string, w io.Writer) error
	// insert sends an insert, and does not read its body any more when it
	// returns.
	insert(ctx context.Context, s *insert) error
	ping(ctx context.Context) error
	close() error
}

// statement is one that sends no data.
type statement struct {
	sql, database string // the database may be ""
	settings      map[string]string
}

// clientName is what servers know this program by.
const clientName = "drayage"

// keepAlive is after how long without a byte a connection is probed.
const keepAlive = 15 * time.Second

// Client is a bounded pool of connections to one ClickHouse. Its methods may
// be called concurrently.
type Client struct {
	end     endpoint
	wire    wire
	slots   chan struct{} // one for each call in progress, so that waiting honours the context
	version string
	known   map[string]bool // those of optionalSettings that the server has
	shards  *shards
}

// Open connects, and checks that the server answers, lets the user in, and is
// recent enough: ErrUnavailable, ErrAuth or ErrVersion otherwise. The database
// of the configuration need not exist. Close the Client when done.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	end, err := cfg.endpoint()
	if err != nil {
		return nil, job.WithClass(fmt.Errorf("connecting to ClickHouse: %w", err), job.Permanent)
	}
	tlsConfig, err := end.secrets()
	if err != nil {
		return nil, job.WithClass(fmt.Errorf("connecting to ClickHouse: %w", err), job.Permanent)
	}
	others, err := newShards(cfg)
	if err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	c := &Client{end: end, slots: make(chan struct{}, end.maxConns), shards: others}
	if end.native() {
		c.wire = newNativeWire(end, tlsConfig)
	} else if c.wire, err = newHTTPWire(end, tlsConfig); err != nil {
		return nil, c.fail("connecting to ClickHouse", err)
	}
	if err := c.hello(ctx); err != nil {
		_ = c.wire.close()
		return nil, err
	}
	return c, nil
}

// hello learns what the server is.
func (c *Client) hello(ctx context.Context) error {
	const what = "connecting to ClickHouse"
	err := c.rows(ctx, what, "SELECT version()", func(scan scanner) error { return scan(&c.version) })
	var broken *net.OpError
	if errors.As(err, &broken) && !errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
		// A connection that is reset at once is as good as none.
		return job.WithClass(fmt.Errorf("%w: %w", ErrUnavailable, err), job.SlowDown)
	}
	if err != nil {
		return err
	}
	if !recent(c.version) {
		return job.WithClass(fmt.Errorf("%s: %w: %s runs %s, and %d.%d or newer is needed", what, ErrVersion, c.end.people(), c.version, minMajor, minMinor), job.Permanent)
	}
	c.known = map[string]bool{}
	return c.rows(ctx, what, "SELECT name FROM system.settings WHERE name IN ("+quoteStrings(optionalSettings())+")", func(scan scanner) error {
		var name string
		err := scan(&name)
		c.known[name] = true
		return err
	})
}

func recent(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err == nil && err2 == nil && (major > minMajor || major == minMajor && minor >= minMinor)
}

// Close closes the connections that are idle, and those in use as they are
// given back, those to shards too. Calls after it fail.
func (c *Client) Close() error {
	if err := errors.Join(c.shards.close(), c.wire.close()); err != nil {
		return fmt.Errorf("closing the connections to ClickHouse: %w", err)
	}
	return nil
}

// Version is the server's, as it was when the Client was opened: "26.7.3.1".
func (c *Client) Version() string { return c.version }

// Database is what a Table without a database means.
func (c *Client) Database() string { return c.end.database }

// URLForPeople is the address without user, password and database.
func (c *Client) URLForPeople() string { return c.end.people() }

// Ping asks the server for a sign of life. The error is ErrUnavailable when
// nobody answers within the dial timeout.
func (c *Client) Ping(ctx context.Context) error {
	return c.call(ctx, "asking ClickHouse for a sign of life", func() error {
		ctx, cancel := context.WithTimeout(ctx, c.end.dial)
		defer cancel()
		return c.wire.ping(ctx)
	})
}

// Exec runs a statement that returns nothing, in the Client's database, and
// returns when the server has finished with it. A SyntaxError has its place
// in sql.
func (c *Client) Exec(ctx context.Context, sql string) error {
	const what = "running the statement"
	return syntax(what, c.exec(ctx, what, c.end.database, sql), sql, 0)
}

// exec runs a statement; database may be "".
func (c *Client) exec(ctx context.Context, what, database, sql string) error {
	return c.call(ctx, what, func() error { return c.wire.run(ctx, statement{sql: sql, database: database}, nil) })
}

type scanner func(dest ...any) error

// rows runs a query of ours and calls each for every row.
func (c *Client) rows(ctx context.Context, what, sql string, each func(scanner) error) error {
	return c.rowsIn(ctx, what, "", sql, each)
}

// rowsIn is rows in a database.
func (c *Client) rowsIn(ctx context.Context, what, database, sql string, each func(scanner) error) error {
	return c.call(ctx, what, func() error {
		return c.wire.run(ctx, statement{sql: sql, database: database}, each)
	})
}

// call runs f with a slot of the pool, and wraps its error.
func (c *Client) call(ctx context.Context, what string, f func() error) error {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return c.fail(what, fmt.Errorf("waiting for a connection: %w", context.Cause(ctx)))
	}
	defer func() { <-c.slots }()
	err := f()
	if errors.Is(err, context.DeadlineExceeded) && ended(ctx) == nil {
		// Not the caller's deadline: the dial timeout or the read timeout.
		err = &scrubbed{"no answer in time", errors.Join(errNoAnswer, err)}
	}
	return c.fail(what, err)
}

func quoteStrings(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quoteString(v)
	}
	return strings.Join(quoted, ", ")
}
