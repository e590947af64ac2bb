//go:build !linux

package chaos

import "syscall"

// attributes keep the terminal's Ctrl-C from the process: the suite takes it
// down in order.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
