package engine

import (
	"os"

	"golang.org/x/sys/unix"
)

// widen gives a pipe a buffer of 1 MiB, the most that an unprivileged process
// may ask for. A smaller one costs switches between threads, nothing else.
func widen(f *os.File) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 1<<20) })
	}
}
