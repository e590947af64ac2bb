package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrLocked is the error when another process uses the data directory.
var ErrLocked = errors.New("the data directory is used by another process")

// lockDirectory makes this process the only engine in dir until it ends or
// calls unlock. It also sees a ClickHouse that is none of ours, by the lock of
// its status file.
func lockDirectory(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "dray-engine.lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := tryLock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if status, err := os.OpenFile(filepath.Join(dir, "status"), os.O_RDWR, 0); err == nil {
		err := tryLock(status)
		status.Close()
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	return func() { f.Close() }, nil
}

// tryLock returns ErrLocked when another open file holds the lock.
func tryLock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}
