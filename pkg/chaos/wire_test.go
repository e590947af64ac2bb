package chaos

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// echo answers each line with the same line in capitals, and counts them.
func echo(t *testing.T) (address string, lines *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	lines = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for s := bufio.NewScanner(c); s.Scan(); {
					lines.Add(1)
					if _, err := c.Write(append(bytes.ToUpper(s.Bytes()), '\n')); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), lines
}

func through(t *testing.T, w *wire) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", w.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, bufio.NewReader(c)
}

// until polls for at most a minute.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("did not happen: %s", what)
}

func TestWireCutsEachWay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		up, down bool
		arrives  bool // what the client says, while it is cut
	}{
		"both ways":       {true, true, false},
		"to the server":   {true, false, false},
		"from the server": {false, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, lines := echo(t)
			w, err := newWire(address)
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			conn, in := through(t, w)
			say := func(s string) { _, _ = io.WriteString(conn, s+"\n") }
			hear := func(want string) {
				t.Helper()
				if got, err := in.ReadString('\n'); got != want+"\n" || err != nil {
					t.Fatalf("heard %q (%v), want %q", got, err, want)
				}
			}
			say("one")
			hear("ONE")

			w.cut(c.up, c.down)
			say("two")
			if c.arrives {
				until(t, "the server hears", func() bool { return lines.Load() == 2 })
			}
			_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if got, err := in.ReadString('\n'); err == nil {
				t.Fatalf("heard %q through a wire that is cut", got)
			}
			if !c.arrives && lines.Load() != 1 {
				t.Fatal("the server heard through a wire that is cut")
			}
			_ = conn.SetReadDeadline(time.Time{})
			w.heal()
			hear("TWO") // nothing was lost
		})
	}
}

func TestWireResets(t *testing.T) {
	t.Parallel()
	address, _ := echo(t)
	w, err := newWire(address)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	conn, in := through(t, w)
	if _, err := io.WriteString(conn, "one\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	w.sever()
	if got, err := in.ReadString('\n'); err == nil {
		t.Fatalf("heard %q through a wire that was severed", got)
	}
	again, err := net.Dial("tcp", w.address())
	if err == nil {
		defer again.Close()
		if _, err := again.Read(make([]byte, 1)); err == nil {
			t.Fatal("a new connection got an answer")
		}
	}
	w.heal()
	conn, in = through(t, w)
	if _, err := io.WriteString(conn, "two\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := in.ReadString('\n'); got != "TWO\n" {
		t.Fatalf("after healing: %q, %v", got, err)
	}
}

// Each trick does to the server and to the client what its name says.
func TestGatePlaysTricks(t *testing.T) {
	t.Parallel()
	const body = "a block of rows that is somewhat longer than nothing"
	for name, c := range map[string]struct {
		trick  trick
		got    string // the whole body, when the server got that
		status int    // 0: no answer
	}{
		"honest":         {honest, body, 200},
		"answer dropped": {dropAnswer, body, 0},
		"body cut":       {cutBody, "", 0},
		"refused":        {refuse503, "", 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			committed := make(chan string, 10)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if text, err := io.ReadAll(r.Body); err == nil {
					committed <- string(text)
				}
			}))
			defer server.Close()
			tokens := newTokens()
			g, err := newGate(strings.TrimPrefix(server.URL, "http://"), tokens)
			if err != nil {
				t.Fatal(err)
			}
			defer g.close()
			g.play(c.trick, 1)
			post := func(query string) (int, error) {
				client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
				res, err := client.Post("http://"+g.address()+"/?insert_deduplication_token=t&query="+query, "", strings.NewReader(body))
				if err != nil {
					return 0, err
				}
				defer res.Body.Close()
				return res.StatusCode, nil
			}
			// Only inserts are played tricks on.
			if status, err := post("SELECT+1"); status != 200 {
				t.Fatalf("a SELECT was answered %d, %v", status, err)
			}
			<-committed
			status, err := post("INSERT+INTO+t")
			if status != c.status || (err != nil) != (c.status == 0) {
				t.Errorf("the client was answered %d (%v), want %d", status, err, c.status)
			}
			got := ""
			select {
			case got = <-committed:
			default:
			}
			if got != c.got {
				t.Errorf("the server got %q, want %q", got, c.got)
			}
			// It is over after as many as were asked for.
			if status, err := post("INSERT+INTO+t"); status != 200 {
				t.Errorf("the next insert was answered %d, %v", status, err)
			}
			inserts, again := tokens.repeated()
			if want := map[bool]int{true: 1, false: 0}[c.got != ""]; inserts != want+1 || again != want {
				t.Errorf("%d inserts under the token, %d of them repeated", inserts, again)
			}
		})
	}
}

// A server that was gone is reached again.
func TestWireAfterServerWasAway(t *testing.T) {
	t.Parallel()
	address, _ := echo(t)
	w, err := newWire("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if conn, err := net.Dial("tcp", w.address()); err == nil { // it may be reset before it is made
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, net.ErrClosed) {
			t.Fatalf("a connection to nobody: %v", err)
		}
	}
	w.set(func(w *wire) { w.to = address })
	conn, in := through(t, w)
	if _, err := io.WriteString(conn, "here\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := in.ReadString('\n'); got != "HERE\n" {
		t.Fatalf("%q, %v", got, err)
	}
}
