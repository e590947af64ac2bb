package queue_test

import (
	"bufio"
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
