package clickhouse

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/ClickHouse/ch-go/proto"
	chproto "github.com/ClickHouse/clickhouse-go/v2/lib/proto"
	"go.opentelemetry.io/otel/trace"

	"drayage/pkg/native"
)

// revision of the native protocol that is spoken, with servers of any newer one
// too. It is the newest in which the columns of a block are as they are in a
// file: from 54452 on the states of aggregate functions are of another version
// (and from 54451 on a server sends its counters, which nobody reads), and from
// 54454 on a byte before the values of a column tells its serialization. So a
// block of the engine is sent as it is, whatever its types.
const revision = 54450

// readBuffer is the size of what a connection reads at once, in bytes. It is
// that of proto.NewReader, which otherwise would put a buffer of its own before.
const readBuffer = 128 << 10

// errNotNative: what answered does not speak the native protocol. Its class is
// job.Permanent.
var errNotNative = errors.New("what answers there does not speak ClickHouse's native protocol: check the port (9000, or 9440 with TLS), or use http://")

// errPacket: what the server sent is out of step with the native protocol.
var errPacket = errors.New("the server sent a packet that this revision of the native protocol does not have")

// nativeConn is a connection of the native protocol. It is used by one caller
// at a time.
type nativeConn struct {
	conn     net.Conn
	in       *bufio.Reader
	reader   *proto.Reader // of in, and of what in gives decompressed
	unpacked *bufio.Reader // what in gives decompressed
	location *time.Location
	read     time.Duration // how long an answer is awaited

	wrote      uint64      // rows, as the server says of the statement that runs
	sending    atomic.Bool // rows: no answer is due
	compressed bool        // the blocks of the statement that runs
	inserts    bool        // the statement that runs may wait for rows that nobody has
	dirty      bool        // it can not be used for another statement
	used       bool        // before this statement
	repeat     bool        // the statement may be sent again: nothing came of it

	// While it is idle: since when, and what comes from the server, which is
	// to be nothing.
	since time.Time
	news  chan error
}

// rest lets the connection be idle, and watches for its end.
func (n *nativeConn) rest() {
	n.since, n.news = time.Now(), make(chan error, 1)
	go func() {
		_, err := n.in.Peek(1)
		n.news <- err
	}()
}

// wake ends rest, and reports whether the connection is still there.
func (n *nativeConn) wake() bool {
	if n.conn.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	return errors.Is(<-n.news, os.ErrDeadlineExceeded) && n.conn.SetReadDeadline(time.Time{}) == nil
}

// dialNative connects and greets, within the dial timeout.
func dialNative(ctx context.Context, end endpoint, conf *tls.Config, database string) (*nativeConn, error) {
	ctx, cancel := context.WithTimeout(ctx, end.dial)
	defer cancel()
	conn, err := connect(ctx, end, conf)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, readBuffer)
	n := &nativeConn{conn: conn, in: in, reader: proto.NewReader(in), read: end.read}
	n.unpacked = bufio.NewReaderSize(n.reader, readBuffer)
	unhook := context.AfterFunc(ctx, n.shut)
	err = n.greet(end, database)
	if !unhook() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return n, nil
	}
	n.shut()
	var x *ch.Exception
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if errors.As(err, &x) || errors.Is(err, errNotNative) || errors.Is(err, ErrVersion) {
		return nil, err
	}
	return nil, unreached(conn.RemoteAddr(), err)
}

// connect makes the connection itself.
func connect(ctx context.Context, end endpoint, conf *tls.Config) (net.Conn, error) {
	conn, err := end.dialing(net.Dialer{KeepAlive: keepAlive})(ctx, "tcp", end.host)
	if conf == nil || err != nil {
		return conn, err
	}
	if conf.ServerName == "" {
		conf = conf.Clone()
		conf.ServerName, _, _ = net.SplitHostPort(end.host) // it was dialled
	}
	secured := tls.Client(conn, conf)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		if errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) {
			err = unreached(nil, err)
		}
		return nil, err
	}
	return secured, nil
}

// unreached is a connection that did not come about.
func unreached(to net.Addr, err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: to, Err: err}
}

// shut breaks the connection, whatever waits for it.
func (n *nativeConn) shut() { _ = n.conn.Close() }

// greet exchanges the greetings.
func (n *nativeConn) greet(end endpoint, database string) error {
	var b proto.Buffer
	proto.ClientHello{
		Name: clientName, Major: 1, ProtocolVersion: revision,
		Database: database, User: end.user, Password: end.password,
	}.Encode(&b)
	if _, err := n.conn.Write(b.Buf); err != nil {
		return err
	}
	code, err := n.packet()
	switch {
	case errors.Is(err, errPacket):
		return errNotNative
	case err != nil:
		return err
	case code == proto.ServerCodeException:
		return n.exception()
	case code != proto.ServerCodeHello:
		return errNotNative
	}
	var hello proto.ServerHello
	if err := hello.DecodeAware(n.reader, revision); err != nil {
		return err
	}
	if hello.Revision < revision {
		return fmt.Errorf("%w: its native protocol is of revision %d, and %d is needed", ErrVersion, hello.Revision, revision)
	}
	if n.location, err = time.LoadLocation(hello.Timezone); err != nil {
		n.location = time.UTC // of a server whose time zones are not known here: ours name theirs
	}
	return nil
}

// ping asks for a sign of life.
func (n *nativeConn) ping(ctx context.Context, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	if over, ok := ctx.Deadline(); ok && over.Before(deadline) {
		deadline = over
	}
	if err := n.conn.SetDeadline(deadline); err != nil {
		return err
	}
	_, err := n.conn.Write([]byte{byte(proto.ClientCodePing)})
	for err == nil {
		var code proto.ServerCode
		if code, err = n.packet(); err == nil && code == proto.ServerCodePong {
			return n.conn.SetDeadline(time.Time{})
		}
		if err == nil && code != proto.ServerCodeProgress {
			return fmt.Errorf("%s as the answer to a ping", code)
		}
		if err == nil {
			err = (&proto.Progress{}).DecodeAware(n.reader, revision)
		}
	}
	return late(err)
}

// late makes a timeout of the connection one of the context package.
func late(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return err
}

// packet reads the kind of the next packet.
func (n *nativeConn) packet() (proto.ServerCode, error) {
	code, err := binary.ReadUvarint(n.in)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the server closed the connection: %w", io.ErrUnexpectedEOF)
	}
	if err != nil {
		return 0, late(err)
	}
	if code > 255 || !proto.ServerCode(code).IsAServerCode() {
		return 0, fmt.Errorf("%w: %d", errPacket, code)
	}
	return proto.ServerCode(code), nil
}

// exception reads one, and returns it as clickhouse-go has it.
func (n *nativeConn) exception() error {
	var x proto.Exception
	if err := x.DecodeAware(n.reader, revision); err != nil {
		return late(err)
	}
	e := &ch.Exception{Code: int32(x.Code), Message: x.Message} //nolint:gosec // it came as one
	if x.Code.IsAError() {
		e.CodeName = x.Code.String()
	}
	return e
}

// query is a statement as it is sent.
type query struct {
	sql, id  string // id may be ""
	settings map[string]string
	compress bool // the blocks, of both sides
	// block sends a block as externalTable, after what begins the packet. It
	// may be nil.
	block func(*packet) error
	span  trace.SpanContext // the zero value: of no trace
}

// query sends a statement.
func (n *nativeConn) query(q query) error {
	n.compressed, n.dirty, n.inserts = q.compress, true, false
	if words := tokens(q.sql); len(words) > 0 {
		n.inserts = words[0].is("INSERT")
	}
	request := proto.Query{
		ID: q.id, Body: q.sql, Stage: proto.StageComplete, Compression: proto.CompressionDisabled,
		Info: proto.ClientInfo{
			ProtocolVersion: revision, Major: 1, Interface: proto.InterfaceTCP, Query: proto.ClientQueryInitial,
			InitialQueryID: q.id, InitialAddress: n.conn.LocalAddr().String(), ClientName: clientName,
			Span: q.span,
		},
	}
	method := CompressionNone
	if q.compress {
		request.Compression, method = proto.CompressionEnabled, CompressionLZ4
	}
	for name, value := range q.settings {
		// Important: a server that does not know it must say so.
		request.Settings = append(request.Settings, proto.Setting{Key: name, Value: value, Important: true})
	}
	var b proto.Buffer
	request.EncodeAware(&b, revision)
	size := len(b.Buf) + 64
	if q.block != nil {
		size = readBuffer
	}
	p, err := newPacket(n.conn, method, size)
	if err != nil {
		return err
	}
	_, _ = p.out.Write(b.Buf) // an error comes again
	if q.block != nil {
		p.begin(externalTable)
		if err := errors.Join(q.block(p), p.flush()); err != nil {
			return late(err)
		}
	}
	if err := p.end(); err != nil { // of external tables
		return late(err)
	}
	n.dirty = false
	return nil
}

// receive reads packets until the statement has ended. block reads one of its
// result from the connection, from the block info on; only those of the result
// itself, not of totals and extremes. A failure that is no exception leaves the
// connection unusable.
func (n *nativeConn) receive(block func() error) error {
	for {
		ended, err := n.step(block)
		if ended || err != nil {
			return err
		}
	}
}

// step reads a packet, and reports whether it was the last.
func (n *nativeConn) step(block func() error) (last bool, err error) {
	limit := time.Now().Add(n.read)
	if n.sending.Load() {
		limit = time.Time{}
	}
	if err := n.conn.SetReadDeadline(limit); err != nil {
		return false, err
	}
	code, err := n.packet()
	if err != nil {
		return false, err
	}
	n.repeat = false
	// What follows is on its way; how long it takes is up to who reads it.
	if err := n.conn.SetReadDeadline(time.Time{}); err != nil {
		return false, err
	}
	switch code {
	case proto.ServerCodeEndOfStream:
		return true, nil
	case proto.ServerCodeException:
		return true, n.exception()
	case proto.ServerCodeData:
		if _, err := n.reader.Str(); err != nil {
			return false, err
		}
		if err := block(); err != nil {
			n.dirty = true // there may be more of the result
			return false, err
		}
		return false, nil
	case proto.ServerCodeTotals, proto.ServerCodeExtremes:
		if _, err := n.reader.Str(); err != nil {
			return false, err
		}
		return false, n.block(io.Discard)
	case proto.ServerCodeLog: // of a profile that sets send_logs_level
		if _, err := n.reader.Str(); err != nil {
			return false, err
		}
		return false, (&chproto.Block{}).Decode(n.reader, revision)
	case proto.ServerCodeProgress:
		var p proto.Progress
		err := p.DecodeAware(n.reader, revision)
		n.wrote += p.WroteRows
		return false, err
	case proto.ServerCodeProfile:
		return false, (&proto.Profile{}).DecodeAware(n.reader, revision)
	case proto.ServerCodeTableColumns:
		return false, (&proto.TableColumns{}).DecodeAware(n.reader, revision)
	}
	return false, fmt.Errorf("%w: %s", errPacket, code)
}

// noRows answers a server that waits for the rows of an INSERT whose author has
// given none, as in INSERT INTO t FORMAT CSV: they end. It has sent a block to
// say so, which it does not do when the rows are in the statement.
func (n *nativeConn) noRows() error {
	if !n.inserts {
		return nil
	}
	n.inserts = false
	method := CompressionNone
	if n.compressed {
		method = CompressionLZ4
	}
	p, err := newPacket(n.conn, method, 64)
	if err != nil {
		return err
	}
	return late(p.end())
}

// skipInfo reads the block info.
func skipInfo(in *bufio.Reader) error {
	for {
		field, err := binary.ReadUvarint(in)
		size := map[uint64]int{1: 1, 2: 4}[field] // overflows, and the number of a bucket
		switch {
		case err != nil:
			return err
		case field == 0:
			return nil
		case size == 0:
			return fmt.Errorf("a field %d in a block info: %w", field, native.ErrMalformed)
		}
		if _, err := in.Discard(size); err != nil {
			return err
		}
	}
}

// emptyBlock reports whether the block that comes next has no rows.
func emptyBlock(in *bufio.Reader) (bool, error) {
	for size := 2; size <= 2*binary.MaxVarintLen64; size++ {
		p, err := in.Peek(size)
		if err != nil {
			return false, err
		}
		if _, n := binary.Uvarint(p); n > 0 {
			if rows, m := binary.Uvarint(p[n:]); m > 0 {
				return rows == 0, nil
			}
		}
	}
	return false, native.ErrMalformed
}
