package files

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// maxScratchMemory is the largest scratch file that is kept in memory.
const maxScratchMemory = 256 << 20

// scratch makes an empty file without a name for about size bytes, in memory
// when they are few.
func scratch(name string, size int64) (*os.File, error) {
	if size <= maxScratchMemory {
		fd, err := unix.MemfdCreate("dray-"+name, unix.MFD_CLOEXEC)
		if err == nil {
			return os.NewFile(uintptr(fd), name), nil
		}
	}
	return scratchOnDisk(name)
}

func scratchOnDisk(name string) (*os.File, error) {
	f, err := os.CreateTemp("", "dray-"+name+"-*")
	if err != nil {
		return nil, fmt.Errorf("making a scratch file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("making a scratch file: %w", err)
	}
	return f, nil
}
