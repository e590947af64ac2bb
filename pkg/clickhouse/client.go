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
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"drayage/pkg/job"
)

// Oldest version of ClickHouse that is known to deduplicate by token through
// materialized views.
const (
	minMajor = 24
	minMinor = 8
)

// Client is a bounded pool of connections to one ClickHouse. Its methods may
// be called concurrently.
type Client struct {
	end     endpoint
	conn    driver.Conn
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
	c.conn, err = ch.Open(&ch.Options{
		Protocol: ch.HTTP,
		Addr:     []string{end.host},
		// The database is left out: clickhouse-go would greet the server in
		// it, and fail where Create has still to make it.
		Auth:         ch.Auth{Username: end.user, Password: end.password},
		TLS:          tlsConfig,
		ClientInfo:   ch.ClientInfo{Products: []struct{ Name, Version string }{{Name: "drayage", Version: "1"}}},
		DialTimeout:  end.dial,
		ReadTimeout:  end.read,
		MaxOpenConns: end.maxConns,
		MaxIdleConns: end.maxConns,
		TransportFunc: func(t *http.Transport) (http.RoundTripper, error) {
			// Each connection of clickhouse-go has a transport of its own.
			t.DialContext = (&net.Dialer{Timeout: end.dial, KeepAlive: 15 * time.Second}).DialContext
			t.TLSHandshakeTimeout = end.dial
			t.WriteBufferSize = 64 << 10
			// Below the 10s after which servers drop a connection, so that an
			// insert is not sent into one that is just being dropped. A new
			// one costs a handshake, and no greeting.
			t.IdleConnTimeout = 8 * time.Second
			return &transport{base: t}, nil
		},
	})
	if err != nil {
		return nil, c.fail("connecting to ClickHouse", err)
	}
	if err := c.hello(ctx); err != nil {
		_ = c.conn.Close()
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
	if err := errors.Join(c.shards.close(), c.conn.Close()); err != nil {
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
		return c.conn.Ping(ctx)
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
	settings := ch.Settings{
		// The answer is held back until the end, so that a failure half-way
		// comes as a status and not as text behind a 200 that Exec ignores.
		"wait_end_of_query": 1,
	}
	if database != "" {
		settings["database"] = database
	}
	ctx = ch.Context(ctx, ch.WithSettings(settings))
	return c.call(ctx, what, func() error { return c.conn.Exec(ctx, sql) })
}

type scanner func(dest ...any) error

// rows runs a query of ours and calls each for every row.
func (c *Client) rows(ctx context.Context, what, sql string, each func(scanner) error) error {
	return c.call(ctx, what, func() error {
		rows, err := c.conn.Query(ctx, sql)
		if err != nil {
			return err
		}
		for rows.Next() {
			if err := each(rows.Scan); err != nil {
				return errors.Join(err, rows.Close())
			}
		}
		// Close also waits for the connection to be given back.
		return errors.Join(rows.Err(), rows.Close())
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
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
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
