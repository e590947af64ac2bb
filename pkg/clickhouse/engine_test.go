package clickhouse_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/testkit"
	"drayage/pkg/testkit/nativefront"
)

// shared is the engine that most tests use, each in a database of its own.
var shared *engine.Process

func TestMain(m *testing.M) {
	testkit.Engine()
	if len(os.Args) > 1 && os.Args[1] == "sink" {
		sink(os.Args[2])
		return
	}
	goleak.VerifyTestMain(withEngine{m})
}

// withEngine runs the tests with the shared engine around them, so that the
// leak check comes after its end.
type withEngine struct{ m *testing.M }

func (w withEngine) Run() (code int) {
	var err error
	if shared, err = engine.Start(context.Background(), engineConfig("")); err != nil {
		fmt.Fprintln(os.Stderr, "starting the engine:", err)
		return 1
	}
	defer func() {
		if _, err := shared.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the engine:", err)
			code = 1
		}
	}()
	defer closeFronts()
	if code = w.m.Run(); code != 0 || flag.Lookup("test.bench").Value.String() != "" || flag.Lookup("test.list").Value.String() != "" {
		return code
	}
	// Again over the native protocol, which must give the same. What is about
	// the server alone is left out.
	fmt.Println("over the native protocol:")
	overTCP = true
	if err := flag.Set("test.skip", serverAlone); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return w.m.Run()
}

// serverAlone are tests, long ones, of what the server does, however it was
// told.
const serverAlone = "^(TestSwapIn.*|TestReadersDuringSwapIn|TestReplace.*|TestLoadIntoPartitionsOfAServerThatDies|TestViews.*|TestCreate.*|TestDropStaging.*|TestStatementsForACluster|TestRetired.*|TestNative.*)$"

// overTCP makes open and newProxy give engines the native protocol.
var overTCP bool

// fronts are the native ends of engines, by their URL.
var fronts struct {
	sync.Mutex
	all map[string]*nativefront.Front
}

// wire is the address of an engine in the protocol of this run.
func wire(t testing.TB, address string) string {
	t.Helper()
	if !overTCP {
		return address
	}
	return tcp(t, address)
}

// tcp is the native end of an engine.
func tcp(t testing.TB, address string) string {
	t.Helper()
	fronts.Lock()
	defer fronts.Unlock()
	if f := fronts.all[address]; f != nil {
		return f.URL()
	}
	f, err := nativefront.Start(address, nativefront.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if fronts.all == nil {
		fronts.all = map[string]*nativefront.Front{}
	}
	fronts.all[address] = f
	return f.URL()
}

func closeFronts() {
	fronts.Lock()
	defer fronts.Unlock()
	for _, f := range fronts.all {
		_ = f.Close()
	}
}

func engineConfig(dir string) engine.Config {
	return engine.Config{Path: dir, User: "tester", Password: password, Log: zerolog.New(os.Stderr).Level(zerolog.WarnLevel)}
}

const password = "s3cr3t p@ss/word"

// ownEngine starts an engine for one test.
func ownEngine(t *testing.T, dir string) *engine.Process {
	t.Helper()
	p, err := engine.Start(t.Context(), engineConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func closeEngine(t *testing.T, p *engine.Process) {
	t.Helper()
	if _, err := p.Close(); err != nil {
		t.Error(err)
	}
}

// databases counts them, so that a test may run again.
var databases atomic.Int64

// open connects to an engine, in a database of the test's own, which is not
// there yet.
func open(t *testing.T, address string, change ...func(*clickhouse.Config)) *clickhouse.Client {
	t.Helper()
	if strings.HasPrefix(address, "http://") {
		address = wire(t, address)
	}
	cfg := clickhouse.Config{URL: address, Database: fmt.Sprintf("%s %d", t.Name(), databases.Add(1))}
	for _, f := range change {
		f(&cfg)
	}
	c, err := clickhouse.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// openIn is open with the database made.
func openIn(t *testing.T, address string) *clickhouse.Client {
	t.Helper()
	outside := open(t, address, func(cfg *clickhouse.Config) { cfg.Database = "default" })
	c := open(t, address)
	exec1(t, outside, "CREATE DATABASE "+quoted(c.Database()))
	return c
}

// query returns the result of a query as TSV, without the last newline.
func query(t *testing.T, c *clickhouse.Client, sql string) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Query(t.Context(), sql, "", &b); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// native returns the result of a query as Native.
func native(t *testing.T, c *clickhouse.Client, sql string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.Query(t.Context(), sql, "Native", &b); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return b.Bytes()
}

func exec1(t *testing.T, c *clickhouse.Client, sql string) {
	t.Helper()
	if err := c.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// proxy passes connections on to an engine, and breaks them on request.
type proxy struct {
	url  string
	l    net.Listener
	addr string // of the engine
	// cutAfter breaks a connection when so many bytes went up it; 0: never.
	cutAfter atomic.Int64
	// mute drops what comes down, and breaks the connection then.
	mute atomic.Bool
	up   atomic.Int64 // bytes that went up
	wg   sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]bool
}

// newProxy makes a proxy for the engine at an address; its own has the same
// user and password.
func newProxy(t *testing.T, address string) *proxy {
	t.Helper()
	u, err := url.Parse(wire(t, address))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, addr: u.Host, open: map[net.Conn]bool{}}
	u.Host = l.Addr().String()
	p.url = u.String()
	p.wg.Go(p.serve)
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) serve() {
	for {
		down, err := p.l.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", p.addr)
		if err != nil {
			down.Close()
			continue
		}
		p.mu.Lock()
		p.open[down], p.open[up] = true, true
		p.mu.Unlock()
		shut := func() {
			down.Close()
			up.Close()
			p.mu.Lock()
			delete(p.open, down)
			delete(p.open, up)
			p.mu.Unlock()
		}
		p.wg.Go(func() {
			defer shut()
			buf := make([]byte, 32<<10)
			for n := int64(0); ; {
				m, err := down.Read(buf)
				if limit := p.cutAfter.Load(); limit > 0 && n+int64(m) > limit {
					_, _ = up.Write(buf[:max(limit-n, 0)])
					return
				}
				n += int64(m)
				p.up.Add(int64(m))
				if _, werr := up.Write(buf[:m]); err != nil || werr != nil {
					return
				}
			}
		})
		p.wg.Go(func() {
			defer shut()
			buf := make([]byte, 32<<10)
			for {
				m, err := up.Read(buf)
				if p.mute.Load() {
					return
				}
				if _, werr := down.Write(buf[:m]); err != nil || werr != nil {
					return
				}
			}
		})
	}
}

// cut breaks all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
}

var errKilled = errors.New("killed")

// killAfter is a hook that fails behind the n-th statement, and counts those
// that ran.
func killAfter(n int, ran *int) func(statement string, done bool) error {
	return func(_ string, done bool) error {
		if !done {
			return nil
		}
		if *ran++; *ran == n {
			return errKilled
		}
		return nil
	}
}

// eventually waits for a condition, which it asks for again and again.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("never came: %s", what)
		}
	}
}
