package engine

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// rssUnit is the unit of ru_maxrss.
const rssUnit = 1024

// childAttributes makes the kernel kill the child with its parent, and keeps
// the terminal's Ctrl-C for the parent, who stops the child in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// processUsage is what a running process has used, as far as /proc tells.
func processUsage(pid int) Usage {
	var u Usage
	dir := "/proc/" + strconv.Itoa(pid)
	if b, err := os.ReadFile(dir + "/stat"); err == nil {
		// Fields 14 and 15, counted after the name, which may hold spaces.
		text := string(b)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if len(fields) > 12 {
			user, _ := strconv.ParseInt(fields[11], 10, 64)
			system, _ := strconv.ParseInt(fields[12], 10, 64)
			u.CPU = time.Duration(user+system) * (time.Second / 100) // USER_HZ is 100 on every Linux
		}
	}
	if b, err := os.ReadFile(dir + "/status"); err == nil {
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				if kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); err == nil {
					u.MaxRSS = kb << 10
				}
			}
		}
	}
	return u
}
