package clickhouse

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"drayage/pkg/job"
	"drayage/pkg/native"
)

// sendBuffer is the size of what is read and sent at once, in bytes: measured
// with 64 KiB to 1 MiB, this costs the least CPU.
const sendBuffer = 64 << 10

// lastWords is how long a server that has broken the connection is listened to
// for the reason.
const lastWords = time.Second

// errEndedEarly: an insert that the server says is over while rows are sent.
var errEndedEarly = errors.New("the server ended the insert before it had the rows")

// insert sends the statement, waits until the server wants the rows, and sends
// them. Only what ends them makes the server insert them: it is sent when all
// of the body was read, and the context has not ended.
func (w *nativeWire) insert(ctx context.Context, s *insert) error {
	return w.with(ctx, "", func(n *nativeConn) error {
		n.wrote, n.repeat = 0, true // until the server wants the rows
		if err := n.query(query{span: spanOf(ctx), sql: s.statement, id: s.queryID, settings: s.settings, compress: s.compression != CompressionNone}); err != nil {
			return err
		}
		n.dirty = true // one that is refused may leave a server that waits for rows
		wanted := false
		for !wanted {
			last, err := n.step(func() error { wanted = true; return n.block(io.Discard) })
			if err != nil {
				return err
			}
			if last {
				return errEndedEarly
			}
		}
		guard := &guarded{ctx: ctx, insert: s, left: s.length}
		defer guard.wait()
		n.sending.Store(true)
		answered := make(chan error, 1)
		go func() {
			err := n.receive(func() error { return n.block(io.Discard) })
			// Nothing that is still being sent matters any more.
			_ = n.conn.SetWriteDeadline(time.Unix(1, 0))
			answered <- err
		}()
		err := n.send(guard)
		n.sending.Store(false)
		if err != nil {
			if s.bodyErr() == nil && ended(ctx) == nil {
				// The server may have said why it takes no more.
				defer time.AfterFunc(lastWords, n.shut).Stop()
			} else {
				n.shut()
			}
			answer := <-answered
			var x *ch.Exception
			switch {
			case s.bodyErr() != nil:
				return err
			case errors.As(answer, &x):
				return answer
			case answer == nil:
				return errEndedEarly
			case errors.Is(err, context.DeadlineExceeded):
				return answer // it is why nothing more could be sent
			}
			return err
		}
		_ = n.conn.SetReadDeadline(time.Now().Add(n.read)) // of a read in progress
		if err := <-answered; err != nil {
			return err
		}
		s.wrote.Store(n.wrote)
		n.dirty = false
		return n.conn.SetWriteDeadline(time.Time{})
	})
}

// send sends the blocks of the body, and what ends them.
func (n *nativeConn) send(g *guarded) error {
	s := g.insert
	packet, err := newPacket(n.conn, s.compression, int(min(s.length+64, sendBuffer)))
	if err != nil {
		return err
	}
	body := bufio.NewReaderSize(g, int(min(s.length, sendBuffer)))
	for {
		if _, err := body.Peek(1); err == io.EOF { //nolint:errorlint // bufio's contract is the value itself
			break
		} else if err != nil {
			return err
		}
		packet.begin("")
		block, err := native.Copy(packet, body)
		if errors.Is(err, native.ErrOpaque) {
			// Nobody can tell where the block ends. It does with the body, if
			// it has all rows.
			if s.rows == 0 || block.Rows != s.rows {
				return job.WithClass(readable(err), job.Permanent)
			}
			_, err = io.Copy(packet, body)
		}
		if errors.Is(err, native.ErrMalformed) {
			return job.WithClass(fmt.Errorf("the body: %w", err), job.Permanent)
		}
		if err != nil {
			return late(err)
		}
		if err := packet.flush(); err != nil {
			return late(err)
		}
	}
	if over := ended(g.ctx); over != nil {
		return over
	}
	s.phase.Store(phaseSent)
	if err := packet.end(); err != nil {
		s.phase.Store(phaseBroken)
		return late(err)
	}
	return nil
}
