package chaos

import "syscall"

// attributes make the kernel kill a process with the suite, and keep the
// terminal's Ctrl-C from it: the suite takes it down in order.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
