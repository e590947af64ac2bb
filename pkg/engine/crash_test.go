package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"drayage/pkg/job"
)

// poison is an ORC file that the engine crashes on: ClickHouse 26.7 does not look
// whether zstd could unpack what is in one, and reads on.
func poison(t *testing.T, c *Client) []byte {
	t.Helper()
	good, err := output(t.Context(), c, Statement{
		SQL: "SELECT number AS a, 'x' AS b FROM numbers(20000) FORMAT ORC", Settings: map[string]string{"output_format_orc_compression_method": "zstd"},
	})
	if err != nil {
		t.Fatal(err)
	}
	magic := []byte{0x28, 0xb5, 0x2f, 0xfd}
	bad := bytes.ReplaceAll([]byte(good), magic, []byte{0x28, 0xb5, 0x2f, 0x56})
	if bytes.Equal(bad, []byte(good)) {
		t.Fatal("nothing in the file was packed")
	}
	return bad
}

// A statement says how its engine ended.
func TestEndOfTheEngine(t *testing.T) {
	p := start(t, Config{})
	c := p.Client()
	bad := poison(t, c)
	for name, want := range map[string]struct {
		crashed bool
		text    string
		run     func() error
	}{
		"crashed": {true, "segmentation fault", func() error {
			_, err := c.Exec(t.Context(), Statement{SQL: "INSERT INTO FUNCTION null('a Int64, b String') FORMAT ORC", Body: bytes.NewReader(bad)})
			return err
		}},
		"killed before the answer": {false, "killed", func() error {
			kill(t, p, "before")
			_, err := c.Exec(t.Context(), Statement{SQL: "SELECT sleepEachRow(1) FROM numbers(60) SETTINGS max_block_size = 1", QueryID: "before"})
			return err
		}},
		"killed within the answer": {false, "killed", func() error {
			body, err := c.Query(t.Context(), Statement{SQL: "SELECT number FROM numbers(100000000000)"})
			if err != nil {
				return err
			}
			defer body.Close()
			if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, body)
			return err
		}},
	} {
		before := p.Restarts()
		err := want.run()
		if !errors.Is(err, ErrEnded) || errors.Is(err, ErrCrashed) != want.crashed || job.ClassOf(err) != job.Retry || !strings.Contains(fmt.Sprint(err), want.text) {
			t.Errorf("%s: %v", name, err)
		}
		if p.Restarts() != before+1 {
			t.Errorf("%s: %d restarts are counted when the statement fails", name, p.Restarts()-before)
		}
		if got := text(t, c, "SELECT 1"); got != "1" {
			t.Errorf("%s: the next one got %q", name, got)
		}
	}
}

// kill kills the engine once the statement runs.
func kill(t *testing.T, p *Process, queryID string) {
	t.Helper()
	go func() {
		for t.Context().Err() == nil && !running(t, p.Client(), queryID) {
			runtime.Gosched()
		}
		_ = syscall.Kill(p.Pid(), syscall.SIGKILL) // the statement will tell
	}()
}

// Of many who use an engine, only the one that crashes it fails.
func TestGuard(t *testing.T) {
	p := start(t, Config{})
	bad := poison(t, p.Client())
	insert := func(body func() io.Reader) func() error {
		return func() error {
			_, err := p.Client().Exec(t.Context(), Statement{SQL: "INSERT INTO FUNCTION null('a Int64, b String') FORMAT ORC", Body: body()})
			return err
		}
	}
	var all sync.WaitGroup
	together := make(chan struct{})
	for range 6 {
		var once sync.Once
		all.Go(func() {
			err := p.Guard(t.Context(), func() error {
				first := false
				once.Do(func() { first = true })
				if first { // it runs when the engine crashes
					body, err := p.Client().Query(t.Context(), Statement{SQL: "SELECT number FROM numbers(100000000000)"})
					if err != nil {
						return err
					}
					defer body.Close()
					together <- struct{}{}
					_, err = io.Copy(io.Discard, body)
					return err
				}
				_, err := p.Client().Exec(t.Context(), Statement{SQL: "SELECT 1"})
				return err
			})
			if err != nil {
				t.Errorf("one beside it: %v", err)
			}
		})
	}
	for range 6 {
		<-together
	}
	before := p.Restarts()
	err := p.Guard(t.Context(), insert(func() io.Reader { return bytes.NewReader(bad) }))
	if !errors.Is(err, ErrCrashed) || job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the one that crashes it: %v", err)
	}
	all.Wait()
	if n := p.Restarts() - before; n != 2 {
		t.Errorf("%d crashes", n)
	}

	// A kill is nobody's fault.
	err = p.Guard(t.Context(), func() error {
		kill(t, p, "victim")
		_, err := p.Client().Exec(t.Context(), Statement{SQL: "SELECT sleepEachRow(1) FROM numbers(60) SETTINGS max_block_size = 1", QueryID: "victim"})
		return err
	})
	if !errors.Is(err, ErrEnded) || job.ClassOf(err) != job.Retry {
		t.Errorf("killed twice: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Guard(ctx, func() error { t.Error("it was called"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled one: %v", err)
	}
	if err := p.Guard(t.Context(), func() error { return io.ErrNoProgress }); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("another error: %v", err)
	}
}

// An engine that is closed while it comes up again has not failed.
func TestCloseWhileItRestarts(t *testing.T) {
	p := start(t, Config{})
	dead := p.Pid()
	if err := syscall.Kill(dead, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next child", func() bool { next := p.Pid(); return next != 0 && next != dead })
	if _, err := p.Close(); err != nil {
		t.Error(err)
	}
}
