package queue_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// silentServer accepts connections and never says a word.
func silentServer(t *testing.T) string {
	return listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
}

// oldServer greets like a NATS server of another version and answers pings.
func oldServer(t *testing.T, version string) string {
	return listen(t, func(c net.Conn) {
		fmt.Fprintf(c, "INFO {\"server_id\":\"x\",\"version\":%q,\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n", version)
		for s := bufio.NewScanner(c); s.Scan(); {
			if s.Text() == "PING" {
				fmt.Fprint(c, "PONG\r\n")
			}
		}
	})
}

func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// cutProxy stands between a client and a server and, each time it is armed,
// cuts the connection instead of passing on the next answer that contains the
// text: the server has done it, the client does not know.
type cutProxy struct {
	address string
	mu      sync.Mutex
	text    []byte
	cuts    int
}

func (p *cutProxy) arm(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = []byte(text)
}

func (p *cutProxy) cutHere(data []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.text == nil || !bytes.Contains(data, p.text) {
		return false
	}
	p.text = nil
	p.cuts++
	return true
}

func (p *cutProxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

func newCutProxy(t *testing.T, server string) *cutProxy {
	p := &cutProxy{}
	p.address = listen(t, func(client net.Conn) {
		up, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer up.Close()
		go func() { _, _ = io.Copy(up, client); up.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := up.Read(buf)
			if err != nil || p.cutHere(buf[:n]) {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	return p
}

// A partition stands between a client and a server and can hold back what goes
// in one direction, or both, as a network does that loses every packet: when it
// heals, what was held back arrives after all, unless the connection was cut.
type partition struct {
	address string
	mu      sync.Mutex
	gates   [2]chan struct{} // closed: open
	conns   []net.Conn
}

const (
	toServer = iota
	toClient
)

func newPartition(t *testing.T, server string) *partition {
	open := make(chan struct{})
	close(open)
	p := &partition{gates: [2]chan struct{}{open, open}}
	over := make(chan struct{})
	carry := func(direction int, to, from net.Conn) {
		defer to.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-p.gate(direction):
			case <-over:
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	p.address = listen(t, func(client net.Conn) {
		up, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, up)
		p.mu.Unlock()
		var wg sync.WaitGroup
		wg.Go(func() { carry(toServer, up, client) })
		carry(toClient, client, up)
		wg.Wait()
	})
	t.Cleanup(func() { close(over); p.cut() })
	return p
}

func (p *partition) gate(direction int) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gates[direction]
}

// drop holds back what goes in these directions from now on.
func (p *partition) drop(directions ...int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range directions {
		p.gates[d] = make(chan struct{})
	}
}

// heal lets everything through, what was held back first.
func (p *partition) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.gates {
		select {
		case <-g:
		default:
			close(g)
		}
	}
}

// cut ends the connections and what was held back in them.
func (p *partition) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}
