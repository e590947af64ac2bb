package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// fifo is a named pipe between the worker and its engine. It has a name that
// is never used again, and not a number under /proc, because a statement that
// was cancelled may open its files late: it must find nothing, rather than the
// pipe of another chunk.
type fifo struct {
	path   string
	opened chan struct{} // closed when our end's open returned
}

var errReleased = errors.New("the engine did not open the pipe")

// fifos makes pipes in a folder of its own.
type fifos struct {
	dir  string
	next atomic.Uint64
}

func (f *fifos) make(kind string) (*fifo, error) {
	path := filepath.Join(f.dir, strconv.FormatUint(f.next.Add(1), 10)+"."+kind)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, fmt.Errorf("making the pipe %s: %w", path, err)
	}
	return &fifo{path: path, opened: make(chan struct{})}, nil
}

// open opens our end and waits for the engine to open the other, or for
// release. It is called once.
func (p *fifo) open(flag int) (*os.File, error) {
	defer close(p.opened)
	file, err := os.OpenFile(p.path, flag, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errReleased
	}
	if err == nil {
		widen(file)
	}
	return file, err
}

// release ends the pipe: an open that still waits returns, a writer gets
// EPIPE, a reader what was written and then the end. The engine's statement
// must have ended. It is called once, and open must have been called.
func (p *fifo) release() {
	// Opening both ends wakes whoever waits in open, whatever end it is.
	both, err := os.OpenFile(p.path, os.O_RDWR|unix.O_NONBLOCK, 0)
	os.Remove(p.path)
	<-p.opened
	if err == nil {
		both.Close()
	}
}
