package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Confine is what a confined engine reaches. The kernel sees to it (Landlock, in
// Linux from 5.13 on): whatever SQL comes, a file, a process or a port beyond it
// is "Permission denied", and no statement can loosen that. Beside what is named
// here the engine has its data directory, its library, the libraries,
// certificates and resolver files of the system, and nothing of /proc that tells
// of other processes or of its own environment.
//
// The environment of a confined engine holds none of its parent's but what
// names places of the system (PATH, TZ, TMPDIR, certificates).
type Confine struct {
	Read  []string `json:"read,omitempty"`  // files and folders with all below, to be read; what is not there is left out
	Write []string `json:"write,omitempty"` // folders in which it reads, writes, makes and removes
	// Connect lets it open TCP connections, to Ports alone when there are any.
	// The kernel knows that from 6.7 on (Landlock 4).
	Connect bool     `json:"connect,omitempty"`
	Ports   []uint16 `json:"ports,omitempty"`
}

// Confinement is how far the kernel can hold an engine.
type Confinement struct {
	Files   bool // only the files that it was given
	Network bool // only the TCP ports that it was given
	Signals bool // no signals to other processes
	Reason  string
}

// String says it for people.
func (c Confinement) String() string {
	var holds []string
	for _, w := range []struct {
		is   bool
		name string
	}{{c.Files, "files and processes"}, {c.Network, "TCP ports"}, {c.Signals, "signals"}} {
		if w.is {
			holds = append(holds, w.name)
		}
	}
	switch {
	case len(holds) == 0:
		return "none: " + c.Reason
	case c.Reason != "":
		return strings.Join(holds, ", ") + " (" + c.Reason + ")"
	}
	return strings.Join(holds, ", ")
}

// envConfine is a Confine as JSON in the environment of the child: it is to be
// confined before anything else is done.
const envConfine = "DRAY_ENGINE_CONFINE"

// errNotConfined is wrapped when the child could not be confined although the
// kernel can: it must not run then.
var errNotConfined = errors.New("confine the engine")

// confineSelf confines this process when its parent has asked for it: the program
// begins anew then, and finds no such wish. It returns when there is none, when
// the kernel can not, or with an error.
func confineSelf() error {
	text := os.Getenv(envConfine)
	if text == "" {
		return nil
	}
	os.Unsetenv(envConfine)
	var c Confine
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return fmt.Errorf("%w: read %s: %w", errNotConfined, envConfine, err)
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("%w: find the program: %w", errNotConfined, err)
	}
	return c.become(exe, os.Environ())
}

// passedOn are the variables that a confined engine gets of its parent's
// environment: none of them is a secret, and the system's libraries go by them.
var passedOn = []string{
	"DRAY_LOG_LEVEL", "DRAY_LOG_FORMAT", "PATH", "LD_LIBRARY_PATH", "TMPDIR", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GOTRACEBACK", "GOCOVERDIR",
}

// systemFiles are read by the C library, by ClickHouse and by Go: to load
// libraries, to resolve names, to check certificates, to size pools. None of
// them is about this program or its user.
var systemFiles = []string{
	"/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
	"/etc/nsswitch.conf", "/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols",
	"/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo",
	"/etc/ssl", "/etc/pki/tls", "/etc/pki/ca-trust", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
	"/dev/zero", "/dev/random", "/dev/urandom",
	"/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/version", "/proc/loadavg", "/proc/uptime", "/proc/sys/vm", "/proc/sys/kernel",
	"/sys/fs/cgroup", "/sys/devices/system", "/sys/kernel/mm/transparent_hugepage",
}

// systemPrograms hold the loader of programs, which is one itself.
var systemPrograms = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"}

// complete adds what every engine needs: its library, its data.
func (c Confine) complete(library, data string) Confine {
	c.Read = append(slices.Clone(c.Read), library)
	c.Write = append(slices.Clone(c.Write), data)
	return c
}
