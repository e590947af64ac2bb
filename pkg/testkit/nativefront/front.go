// Package nativefront gives an engine, which speaks HTTP alone, the native
// protocol of a ClickHouse server: for tests of what speaks it.
//
// It answers as a server does whose protocol is newer than the client's: with
// what the client's revision has. Blocks are passed on as they are, so a client
// of a revision from 54452 on, in which they differ from those of HTTP, is
// refused.
package nativefront

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"

	"drayage/pkg/engine"
)

// newest is the revision that the front says it speaks; maxRevision is the
// newest that it does.
const (
	newest      = 54483
	maxRevision = 54451
)

// Options of a Front. The zero value is fine.
type Options struct {
	TLS *tls.Config // nil: none
	// Revision is what the front says it speaks: that of a new server when it
	// is 0.
	Revision int
}

// Front is a server in front of an engine.
type Front struct {
	opt  Options
	url  string
	host string
	l    net.Listener
	wg   sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
}

// Start serves the native protocol for the engine at a URL, on loopback. Close
// it.
func Start(engineURL string, opt Options) (*Front, error) {
	if opt.Revision == 0 {
		opt.Revision = newest
	}
	u, err := url.Parse(engineURL)
	if err != nil {
		return nil, fmt.Errorf("the engine's address: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	f := &Front{opt: opt, host: u.Host, l: l, open: map[net.Conn]bool{}}
	u.Scheme, u.Host, u.Path = "clickhouse", l.Addr().String(), ""
	if opt.TLS != nil {
		f.l, u.Scheme = tls.NewListener(l, opt.TLS), "clickhouses"
	}
	f.url = u.String()
	f.wg.Go(f.serve)
	return f, nil
}

// URL is the front's address, with the user and the password of the engine's.
func (f *Front) URL() string { return f.url }

// Close breaks the connections and returns when nothing runs any more.
func (f *Front) Close() error {
	err := f.l.Close()
	f.mu.Lock()
	f.closed = true
	for c := range f.open {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
	return err
}

func (f *Front) serve() {
	for {
		c, err := f.l.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		if f.closed {
			_ = c.Close()
		}
		f.open[c] = true
		f.mu.Unlock()
		f.wg.Go(func() {
			_ = newSession(f, c).run() // of a client that left, or an engine that died
			_ = c.Close()
			f.mu.Lock()
			delete(f.open, c)
			f.mu.Unlock()
		})
	}
}

// session is a connection of a client.
type session struct {
	front    *Front
	conn     net.Conn
	in       *bufio.Reader
	reader   *proto.Reader
	unpacked *bufio.Reader
	out      *bufio.Writer
	revision int
	database string
	client   *engine.Client

	user, password string
	http           *http.Client

	codes chan code // of the packet that comes next, when it was asked for
}

type code struct {
	code proto.ClientCode
	err  error
}

func newSession(f *Front, c net.Conn) *session {
	s := &session{front: f, conn: c, in: bufio.NewReaderSize(c, 128<<10), out: bufio.NewWriterSize(c, 64<<10), codes: make(chan code, 1)}
	s.reader = proto.NewReader(s.in)
	s.unpacked = bufio.NewReaderSize(s.reader, 128<<10)
	return s
}

// ask reads the code of the next packet in the background.
func (s *session) ask() {
	s.front.wg.Go(func() {
		n, err := binary.ReadUvarint(s.in)
		s.codes <- code{proto.ClientCode(n), err} //nolint:gosec // a code is small
	})
}

// send sends what encode puts into a buffer.
func (s *session) send(encode func(*proto.Buffer)) error {
	var b proto.Buffer
	encode(&b)
	if _, err := s.out.Write(b.Buf); err != nil {
		return err
	}
	return s.out.Flush()
}

// fail sends an exception. Another error is the end of the connection.
func (s *session) fail(err error) error {
	var x *engine.Exception
	if !errors.As(err, &x) {
		return err
	}
	return s.send(func(b *proto.Buffer) {
		proto.ServerCodeException.Encode(b)
		(&proto.Exception{Code: proto.Error(x.Code), Name: "DB::Exception", Message: "DB::Exception: " + x.Message}).EncodeAware(b, s.revision)
	})
}

func (s *session) run() error {
	if err := s.greet(); err != nil {
		return err
	}
	s.ask()
	for {
		next := <-s.codes
		if next.err != nil {
			return next.err
		}
		switch next.code {
		case proto.ClientCodePing:
			if err := s.send(func(b *proto.Buffer) { proto.ServerCodePong.Encode(b) }); err != nil {
				return err
			}
			s.ask()
		case proto.ClientCodeCancel: // of a statement that has ended
			s.ask()
		case proto.ClientCodeQuery:
			if err := s.query(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unexpected packet %d", next.code)
		}
	}
}

// greet reads the client's greeting and lets the engine judge its user.
func (s *session) greet() error {
	n, err := binary.ReadUvarint(s.in)
	if err != nil {
		return err
	}
	if proto.ClientCode(n) != proto.ClientCodeHello { //nolint:gosec // likewise
		return fmt.Errorf("packet %d in place of a greeting", n)
	}
	var hello proto.ClientHello
	if err := hello.Decode(s.reader); err != nil {
		return err
	}
	s.revision, s.database = min(hello.ProtocolVersion, s.front.opt.Revision), hello.Database
	if s.revision > maxRevision || s.revision < proto.FeatureSettingsSerializedAsStrings.Version() {
		return fmt.Errorf("a client of revision %d", hello.ProtocolVersion)
	}
	s.user, s.password, s.http = hello.User, hello.Password, &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	u := url.URL{Scheme: "http", Host: s.front.host, User: url.UserPassword(hello.User, hello.Password)}
	if s.client, err = engine.NewClient(u.String()); err != nil {
		return err
	}
	var rows []struct {
		Version string `json:"v"`
	}
	if err := s.client.Rows(context.Background(), engine.Statement{SQL: "SELECT version() AS v", Database: s.database}, &rows); err != nil {
		return s.fail(err)
	}
	var version [3]int
	for i, part := range strings.SplitN(rows[0].Version, ".", 4)[:3] {
		if version[i], err = strconv.Atoi(part); err != nil {
			return err
		}
	}
	return s.send(func(b *proto.Buffer) {
		(&proto.ServerHello{
			Name: "ClickHouse", Major: version[0], Minor: version[1], Patch: version[2],
			Revision: s.front.opt.Revision, Timezone: "UTC", DisplayName: "front",
		}).EncodeAware(b, s.revision)
	})
}

// query reads a statement with its external tables and runs it.
func (s *session) query() error {
	var q proto.Query
	if err := q.DecodeAware(s.reader, s.revision); err != nil {
		return err
	}
	packed := q.Compression == proto.CompressionEnabled
	table, err := s.tables(packed)
	if err != nil {
		return err
	}
	st := engine.Statement{SQL: q.Body, Database: s.database, QueryID: q.ID, Settings: map[string]string{}}
	for _, setting := range q.Settings {
		st.Settings[setting.Key] = setting.Value
	}
	s.ask()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if target, ok := insertion(q.Body); ok {
		return s.insert(ctx, cancel, st, target, packed)
	}
	result := make(chan error, 1)
	s.front.wg.Go(func() { result <- s.result(ctx, st, table, packed) })
	select {
	case err = <-result:
	case next := <-s.codes:
		if next.err == nil && next.code != proto.ClientCodeCancel {
			next.err = fmt.Errorf("packet %d within a statement", next.code)
		}
		cancel()
		err = <-result
		if next.err != nil {
			return next.err
		}
		s.ask()
	}
	if err != nil {
		return s.fail(err)
	}
	return s.send(func(b *proto.Buffer) { proto.ServerCodeEndOfStream.Encode(b) })
}

// insertion is the part of an INSERT whose data come with it up to FORMAT.
func insertion(sql string) (string, bool) {
	head, ok := strings.CutSuffix(sql, " FORMAT Native")
	return head, ok && strings.HasPrefix(head, "INSERT INTO ")
}

// framed returns a writer of one block: plain, or in frames.
func framed(to io.Writer, packed bool) io.WriteCloser {
	if !packed {
		return plain{to}
	}
	return &frames{to: to, z: compress.NewWriter(compress.LevelZero, compress.LZ4)}
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

type frames struct {
	to  io.Writer
	z   *compress.Writer
	buf []byte
}

func (f *frames) Write(p []byte) (int, error) {
	f.buf = append(f.buf, p...)
	for len(f.buf) >= 1<<20 {
		if err := f.squeeze(f.buf[:1<<20]); err != nil {
			return 0, err
		}
		f.buf = append(f.buf[:0], f.buf[1<<20:]...)
	}
	return len(p), nil
}

func (f *frames) squeeze(p []byte) error {
	if err := f.z.Compress(p); err != nil {
		return err
	}
	_, err := f.to.Write(f.z.Data)
	return err
}

func (f *frames) Close() error {
	if len(f.buf) == 0 {
		return nil
	}
	return f.squeeze(f.buf)
}

// with adds settings to a statement's.
func with(st engine.Statement, more map[string]string) engine.Statement {
	settings := maps.Clone(st.Settings)
	maps.Copy(settings, more)
	st.Settings = settings
	return st
}
