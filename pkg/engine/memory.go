package engine

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// MachineMemory is the memory that this process may use: that of its control
// group when one is set, else that of the machine; 2 GiB when neither can be
// told. In bytes.
func MachineMemory() int64 {
	memory := int64(2 << 30)
	if f, err := os.Open("/proc/meminfo"); err == nil {
		defer f.Close()
		for sc := bufio.NewScanner(f); sc.Scan(); {
			fields := strings.Fields(sc.Text())
			if len(fields) >= 2 && fields[0] == "MemTotal:" {
				if kb, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
					memory = kb << 10
				}
				break
			}
		}
	}
	for _, limit := range []string{
		"/sys/fs/cgroup/memory.max",                   // version 2
		"/sys/fs/cgroup/memory/memory.limit_in_bytes", // version 1
	} {
		b, err := os.ReadFile(limit)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 {
			memory = min(memory, n)
		}
	}
	return memory
}
