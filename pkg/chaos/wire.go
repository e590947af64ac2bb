package chaos

import (
	"net"
	"sync"
	"time"
)

// wire is a TCP proxy between one client and one server of the fleet, which
// can be cut in each direction by itself. A direction that is cut holds what
// was sent and delivers it when it is healed, as a network does whose packets
// are lost for a while; connections made meanwhile wait likewise.
type wire struct {
	listener net.Listener
	to       string

	mu      sync.Mutex
	up      bool // client to server is cut
	down    bool // server to client is cut
	refuse  bool // connections are reset and new ones closed at once
	latency time.Duration
	changed chan struct{} // closed and made anew at each change
	conns   map[net.Conn]struct{}
	closed  bool

	work sync.WaitGroup
}

// newWire listens on a port of its own and forwards to address.
func newWire(address string) (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{listener: l, to: address, changed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	w.work.Go(w.accept)
	return w, nil
}

func (w *wire) address() string { return w.listener.Addr().String() }

func (w *wire) accept() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		if !w.hold(c) {
			continue
		}
		w.work.Go(func() { w.carry(c) })
	}
}

// hold remembers a connection so that it can be reset; false, with the
// connection reset, when none may be.
func (w *wire) hold(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.refuse {
		reset(c)
		return false
	}
	w.conns[c] = struct{}{}
	return true
}

func (w *wire) drop(c net.Conn) {
	w.mu.Lock()
	delete(w.conns, c)
	w.mu.Unlock()
	_ = c.Close()
}

// reset closes the connection so that the other side is told at once, and not
// that everything has been said.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

func (w *wire) carry(client net.Conn) {
	defer w.drop(client)
	// A connection can not be made while either direction is cut.
	if !w.pass(func() bool { return !w.up && !w.down }) {
		return
	}
	server, err := net.DialTimeout("tcp", w.to, 5*time.Second)
	if err != nil {
		reset(client)
		return
	}
	if !w.hold(server) {
		reset(client)
		return
	}
	defer w.drop(server)
	var both sync.WaitGroup
	both.Go(func() { w.pump(server, client, func() bool { return !w.up }) })
	both.Go(func() { w.pump(client, server, func() bool { return !w.down }) })
	both.Wait()
}

// pump copies from one side to the other while its direction is open. When one
// side ends, both do: a half-closed connection is nothing anybody here uses.
func (w *wire) pump(to, from net.Conn, open func() bool) {
	defer func() {
		_ = to.Close() // not reset: what was written is still to arrive
		_ = from.Close()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !w.pass(open) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			// The news of the end takes the same way as the bytes.
			w.pass(open)
			return
		}
	}
}

// pass waits until the condition holds and then for the latency. It is false
// when the wire was closed.
func (w *wire) pass(open func() bool) bool {
	for {
		w.mu.Lock()
		ok, closed, changed, latency := open(), w.closed, w.changed, w.latency
		w.mu.Unlock()
		if closed {
			return false
		}
		if ok {
			if latency > 0 {
				time.Sleep(latency)
			}
			return true
		}
		<-changed
	}
}

// set changes the wire under its lock.
func (w *wire) set(change func(*wire)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
	close(w.changed)
	w.changed = make(chan struct{})
	if w.refuse || w.closed {
		for c := range w.conns {
			reset(c)
		}
	}
}

func (w *wire) cut(up, down bool) { w.set(func(w *wire) { w.up, w.down = up, down }) }
func (w *wire) sever()            { w.set(func(w *wire) { w.refuse = true }) }
func (w *wire) slow(d time.Duration) {
	w.set(func(w *wire) { w.latency = d })
}

// heal ends every fault.
func (w *wire) heal() {
	w.set(func(w *wire) { w.up, w.down, w.refuse, w.latency = false, false, false, 0 })
}

func (w *wire) close() {
	w.listener.Close()
	w.set(func(w *wire) { w.closed = true })
	w.work.Wait()
}
