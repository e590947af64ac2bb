//go:build !linux

package engine

import "syscall"

// rssUnit is the unit of ru_maxrss.
const rssUnit = 1

// childAttributes keeps the terminal's Ctrl-C for the parent, who stops the
// child in order. The child notices the end of its parent by its life pipe.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// processUsage knows nothing of a running process here.
func processUsage(int) Usage { return Usage{} }
