package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"drayage/pkg/job"
)

// A message is eight bytes: 0 with a file asks the engine to keep it, any other
// number to close the file of that number. The answer is the number of the file
// or, below 0, why not.

// lendPatience bounds the wait for an answer.
const lendPatience = 10 * time.Second

// lender is the parent's end.
type lender struct {
	mu   sync.Mutex
	conn *net.UnixConn
}

// newLender makes the parent's end, and the file that is the child's.
func newLender() (*lender, *os.File, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket for files: %w", err)
	}
	child := os.NewFile(uintptr(ends[1]), "lend")
	conn, err := packets(os.NewFile(uintptr(ends[0]), "lend"))
	if err != nil {
		child.Close()
		return nil, nil, err
	}
	return &lender{conn: conn}, child, nil
}

// packets takes a socket over.
func packets(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("take the socket for files: %w", err)
	}
	return c.(*net.UnixConn), nil //nolint:forcetypeassert // the family is unix
}

// lend implements lending.
func (l *lender) lend(fd uintptr) (path string, end func(), err error) {
	number, err := l.ask(0, unix.UnixRights(int(fd))) //nolint:gosec // a file
	if err != nil {
		return "", nil, job.WithClass(err, job.Retry)
	}
	return fmt.Sprintf("/proc/self/fd/%d", number), func() {
		_, _ = l.ask(number, nil) // an engine that is gone has closed it
	}, nil
}

func (l *lender) ask(message int64, file []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(message)) //nolint:gosec // its bits
	if err := l.conn.SetDeadline(time.Now().Add(lendPatience)); err != nil {
		return 0, err
	}
	if _, _, err := l.conn.WriteMsgUnix(b[:], file, nil); err != nil {
		return 0, err
	}
	n, err := l.conn.Read(b[:])
	if err != nil || n != len(b) {
		// What comes later would be taken for the answer to the next message.
		_ = l.conn.Close()
		return 0, errors.Join(errors.New("the engine does not answer"), err)
	}
	answer := int64(binary.NativeEndian.Uint64(b[:])) //nolint:gosec // its bits
	if answer < 0 {
		return 0, fmt.Errorf("the engine could not keep it: %w", unix.Errno(-answer)) //nolint:gosec // as the engine wrote it
	}
	return answer, nil
}

// close ends the lending; the engine keeps what it has until it ends.
func (l *lender) close() { _ = l.conn.Close() }

// lentFrom is the lowest number of a lent file. Numbers go up from it and are
// used again late: a statement that was cancelled may open its files late, and
// must not find those of another.
const (
	lentFrom = 512
	lentTo   = 1 << 16
)

// keepLent is the engine's side: it keeps files until it is told to close them.
// It returns when the parent is gone.
func keepLent(f *os.File) {
	conn, err := packets(f)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	next := lentFrom
	for {
		var b [8]byte
		oob := make([]byte, unix.CmsgSpace(4))
		n, on, _, _, err := conn.ReadMsgUnix(b[:], oob)
		if err != nil || n != len(b) {
			return
		}
		answer := int64(binary.NativeEndian.Uint64(b[:])) //nolint:gosec // its bits
		if answer == 0 {
			answer = keep(oob[:on], &next)
		} else {
			_ = unix.Close(int(answer))
		}
		binary.NativeEndian.PutUint64(b[:], uint64(answer)) //nolint:gosec // its bits
		if _, err := conn.Write(b[:]); err != nil {
			return
		}
	}
}

// keep is the number of the file that came, below 0 an errno.
func keep(oob []byte, next *int) int64 {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return -int64(unix.EBADMSG)
	}
	files, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(files) != 1 {
		return -int64(unix.EBADMSG)
	}
	defer func() { _ = unix.Close(files[0]) }()
	fd, err := unix.FcntlInt(uintptr(files[0]), unix.F_DUPFD_CLOEXEC, *next)
	if err != nil { // above what the process may have
		fd, err = unix.FcntlInt(uintptr(files[0]), unix.F_DUPFD_CLOEXEC, lentFrom)
	}
	if err != nil {
		fd, err = unix.FcntlInt(uintptr(files[0]), unix.F_DUPFD_CLOEXEC, 0)
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return -int64(errno)
	}
	if *next = fd + 1; *next >= lentTo {
		*next = lentFrom
	}
	return int64(fd)
}

// regular reports whether fd is an open regular file.
func regular(fd uintptr) bool {
	var st unix.Stat_t
	return unix.Fstat(int(fd), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG //nolint:gosec // a file
}
