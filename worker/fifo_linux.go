package worker

import (
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is the capacity asked for each pipe, in bytes: the most that an
// unprivileged process gets by default. It saves most of the switches between
// worker and engine that 64 KiB would need.
const pipeSize = 1 << 20

// widen gives the pipe its capacity. It is best effort: a kernel that refuses
// leaves a smaller pipe that works as well, only slower.
func widen(pipe *os.File) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize)
	})
}
