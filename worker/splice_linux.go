package worker

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// splice moves the bytes from start to end of a regular file into a pipe
// without copying them, and returns how many it moved: fewer than asked for
// when the file ends early, or when the kernel can not do it. Either way the
// caller goes on by reading.
func splice(pipe, file *os.File, start, end int64, progress func()) (moved int64, err error) {
	to, err := pipe.SyscallConn()
	if err != nil {
		return 0, err
	}
	from, err := file.SyscallConn()
	if err != nil {
		return 0, err
	}
	for at := start; at < end; {
		var n int64
		var failed error
		ctl := from.Control(func(in uintptr) {
			err = to.Write(func(out uintptr) bool {
				n, failed = unix.Splice(int(in), &at, int(out), nil, int(min(end-at, pipeSize)), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
				return !errors.Is(failed, unix.EAGAIN) // else: wait until the pipe has room
			})
		})
		switch {
		case ctl != nil || err != nil:
			return at - start, errors.Join(ctl, err)
		case errors.Is(failed, unix.EINTR):
		case errors.Is(failed, unix.EINVAL), errors.Is(failed, unix.ENOSYS):
			return at - start, nil
		case failed != nil:
			return at - start, os.NewSyscallError("splice", failed)
		case n == 0:
			return at - start, nil
		default:
			progress()
		}
	}
	return end - start, nil
}
