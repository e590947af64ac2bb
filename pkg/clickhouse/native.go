package clickhouse

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
	chproto "github.com/ClickHouse/clickhouse-go/v2/lib/proto"

	"drayage/pkg/job"
	"drayage/pkg/native"
)

// nativeWire is ClickHouse's native protocol, over TCP. A connection has a
// database and a session, which a statement may change (USE, SET): those of
// statements in a database, which are other people's, are made for one
// statement, and only those without are kept for others.
type nativeWire struct {
	end endpoint
	tls *tls.Config // nil: none

	mu     sync.Mutex
	idle   []*nativeConn // the last was used last
	closed bool
}

// newNativeWire does not connect.
func newNativeWire(end endpoint, tlsConfig *tls.Config) *nativeWire {
	return &nativeWire{end: end, tls: tlsConfig}
}

// pingAfter is how long a connection may have been idle before it is asked
// whether it is still there: what stands between may have forgotten it.
const pingAfter = 30 * time.Second

// errClosed is any call after close.
var errClosed = errors.New("the connections were closed")

// with runs f with a connection that nobody else uses. It is used again if f
// succeeds, or if all that happened is that the server refused a statement. f
// is run again, with another connection, if one that had been idle turns out to
// be broken before anything came of what f says may be repeated.
func (w *nativeWire) with(ctx context.Context, database string, f func(*nativeConn) error) error {
	for {
		n, err := w.take(ctx, database)
		if over := ended(ctx); err != nil && over != nil {
			return fmt.Errorf("%w (%v)", over, err) //nolint:errorlint // a server that can not be reached is no reason then
		}
		if err != nil {
			return err
		}
		unhook := context.AfterFunc(ctx, n.shut)
		err = f(n)
		var x *ch.Exception
		refused := errors.As(err, &x)
		switch {
		case unhook() && database == "" && (err == nil || refused && !n.dirty):
			w.give(n)
		default:
			n.shut()
		}
		if err == nil || refused || !n.repeat || !n.used || ended(ctx) != nil {
			return because(ctx, err)
		}
	}
}

// because gives the end of the context as what a failure is due to, unless the
// server has answered.
func because(ctx context.Context, err error) error {
	var x *ch.Exception
	if err == nil || errors.As(err, &x) {
		return err
	}
	if over := ended(ctx); over != nil && !errors.Is(err, over) {
		return fmt.Errorf("%w (%w)", over, err)
	}
	return err
}

// take returns a connection that was idle and still answers, or a new one.
func (w *nativeWire) take(ctx context.Context, database string) (*nativeConn, error) {
	for {
		w.mu.Lock()
		if w.closed {
			w.mu.Unlock()
			return nil, errClosed
		}
		last := len(w.idle) - 1
		if database != "" || last < 0 {
			w.mu.Unlock()
			return dialNative(ctx, w.end, w.tls, database)
		}
		n := w.idle[last]
		w.idle = w.idle[:last]
		w.mu.Unlock()
		n.used = true
		if n.wake() && (time.Since(n.since) < pingAfter || n.ping(ctx, w.end.dial) == nil) {
			return n, nil
		}
		n.shut()
	}
}

func (w *nativeWire) give(n *nativeConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.idle) >= w.end.maxConns {
		n.shut()
		return
	}
	n.rest()
	w.idle = append(w.idle, n)
}

func (w *nativeWire) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, n := range w.idle {
		n.shut()
	}
	w.idle = nil
	return nil
}

func (w *nativeWire) ping(ctx context.Context) error {
	return w.with(ctx, "", func(n *nativeConn) error { return n.ping(ctx, w.end.dial) })
}

func (w *nativeWire) run(ctx context.Context, s statement, each func(scanner) error) error {
	return w.with(ctx, s.database, func(n *nativeConn) error {
		n.repeat = each != nil // a query of ours, which changes nothing
		if err := n.query(query{span: spanOf(ctx), sql: s.sql, settings: s.settings}); err != nil {
			return err
		}
		return n.receive(func() error {
			if each == nil {
				return errors.Join(n.block(io.Discard), n.noRows())
			}
			return n.rows(each)
		})
	})
}

// rows reads a block and calls each for its rows.
func (n *nativeConn) rows(each func(scanner) error) error {
	block := chproto.Block{ServerContext: &chcolumn.ServerContext{Timezone: n.location}}
	if err := block.Decode(n.reader, revision); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	for row := range block.Rows() {
		err := each(func(dest ...any) error {
			if len(dest) != len(block.Columns) {
				return fmt.Errorf("%d columns for %d values", len(block.Columns), len(dest))
			}
			for i, to := range dest {
				if err := block.Columns[i].ScanRow(to, row); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			n.dirty = true // the rest of the result comes yet
			return err
		}
	}
	return nil
}

func (w *nativeWire) stream(ctx context.Context, s statement, format string, to io.Writer) error {
	switch format {
	case "Native":
	case "Null":
		to = io.Discard
	default:
		return w.text(ctx, s, format, to)
	}
	out := bufio.NewWriterSize(to, 64<<10)
	return w.with(ctx, s.database, func(n *nativeConn) error {
		if err := n.query(query{span: spanOf(ctx), sql: s.sql, settings: s.settings, compress: w.end.compression != CompressionNone}); err != nil {
			return err
		}
		return n.receive(func() error { return errors.Join(n.block(out), out.Flush(), n.noRows()) })
	})
}

// block copies a block of a result, in Native as it is in a file. What has no
// rows, as the block that comes first of all, is left out.
func (n *nativeConn) block(to io.Writer) error {
	in := n.in
	if n.compressed {
		n.reader.EnableCompression()
		defer n.reader.DisableCompression()
		in = n.unpacked
	}
	if err := skipInfo(in); err != nil {
		return err
	}
	empty, err := emptyBlock(in)
	if err != nil {
		return err
	}
	if empty {
		to = io.Discard
	}
	_, err = native.Copy(to, in)
	return readable(err)
}

// readable says of a column whose end is not known what can be done.
func readable(err error) error {
	var col *native.ColumnError
	if errors.As(err, &col) && errors.Is(err, native.ErrOpaque) {
		return job.WithClass(fmt.Errorf("%w: the native protocol can not carry it in a result; use http:// or https://", col), job.Permanent)
	}
	return err
}
