package engine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock is spoken to directly: its Go library sets all threads of a process
// through runtime support that a program without cgo loses when it loads C
// libraries by itself, as purego does. Here one thread is confined and becomes
// the engine by exec, which ends all others.

// Rights of Landlock by the version of its ABI that brought them.
const (
	rightsRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	rightsWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	rightsFile = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE

	abiRefer    = 2
	abiTruncate = 3
	abiNetwork  = 4
	abiScope    = 6
	// abiKnown is the newest whose rights are handled here. A later kernel has
	// more; they stay as they were without Landlock.
	abiKnown = 6
)

// ruleNetPort is LANDLOCK_RULE_NET_PORT, and netPort its argument.
const ruleNetPort = 2

type netPort struct{ access, port uint64 }

// landlockABI is the version that the kernel has, 0: none.
func landlockABI() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v) //nolint:gosec // a small number
}

// ConfinementHere is how far the kernel can hold engines on this machine.
func ConfinementHere() Confinement {
	abi := landlockABI()
	c := Confinement{Files: abi >= 1, Network: abi >= abiNetwork, Signals: abi >= abiScope}
	switch {
	case abi == 0:
		c.Reason = "the kernel has no Landlock, or it is not among those of lsm=; it is in Linux from 5.13 on"
	case abi < abiNetwork:
		c.Reason = fmt.Sprintf("Landlock %d; ports are held from Linux 6.7 on", abi)
	}
	return c
}

// become confines this thread and starts the program again in it, with the
// environment env. It returns only with an error; nil when the kernel has no
// Landlock, and nothing was done.
func (c Confine) become(executable string, env []string) error {
	abi := landlockABI()
	if abi == 0 {
		return nil
	}
	runtime.LockOSThread() // and never unlocked: nothing else may run on it
	if err := c.restrict(executable, min(abi, abiKnown)); err != nil {
		return fmt.Errorf("%w: %w", errNotConfined, err)
	}
	err := syscall.Exec(executable, os.Args, env) //nolint:gosec // this very program
	return fmt.Errorf("%w: start %s again: %w", errNotConfined, executable, err)
}

// restrict takes from this thread whatever c does not name, but what running
// executable needs.
func (c Confine) restrict(executable string, abi int) error {
	write := uint64(rightsWrite)
	if abi >= abiRefer {
		write |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= abiTruncate {
		write |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: rightsRead | write | unix.LANDLOCK_ACCESS_FS_EXECUTE}
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if abi >= abiNetwork {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		if c.Connect && len(c.Ports) == 0 {
			attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP
		}
		size += unsafe.Sizeof(attr.Handled_access_net)
	}
	if abi >= abiScope {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		size += unsafe.Sizeof(attr.Scoped)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("make the rules: %w", errno)
	}
	rules := int(fd) //nolint:gosec // a file
	defer func() { _ = unix.Close(rules) }()
	for _, path := range append([]string{executable}, systemPrograms...) {
		if err := allow(rules, path, rightsRead|unix.LANDLOCK_ACCESS_FS_EXECUTE); err != nil {
			return err
		}
	}
	for _, path := range slices.Concat(systemFiles, c.Read) {
		if err := allow(rules, path, rightsRead); err != nil {
			return err
		}
	}
	for _, path := range append([]string{"/dev/null"}, c.Write...) {
		if err := allow(rules, path, rightsRead|write); err != nil {
			return err
		}
	}
	for _, port := range c.Ports {
		if abi < abiNetwork || !c.Connect {
			break
		}
		rule := netPort{unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, uint64(port)}
		if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, fd, ruleNetPort, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
			return fmt.Errorf("allow the port %d: %w", port, errno)
		}
	}
	// Without it an unprivileged process may not give up rights, for a program
	// that runs as somebody else would not expect it.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("restrict the process: %w", errno)
	}
	return nil
}

// allow adds a rule for a file, or for a folder and all below. What is not there
// needs none.
func allow(rules int, path string, rights uint64) error {
	at, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EACCES) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("allow %s: %w", path, err)
	}
	defer func() { _ = unix.Close(at) }()
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return fmt.Errorf("allow %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= rightsFile
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(at)}                                                                                  //nolint:gosec // a file
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 { //nolint:gosec // a file
		return fmt.Errorf("allow %s: %w", path, errno)
	}
	return nil
}

// onMainThread reports whether this goroutine runs on the process's first thread.
func onMainThread() bool { return unix.Gettid() == unix.Getpid() }
