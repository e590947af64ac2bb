package engine

import (
	"os"
	"runtime"
)

// In an engine that a Process started, the first thread is the main goroutine's,
// which only waits: nothing else can ever run there. Later than in init it could
// be had by luck alone, see offMainThread.
func init() { //nolint:gochecknoinits // the runtime offers no other time
	if os.Getenv(envReady) != "" {
		runtime.LockOSThread()
	}
}

// maxHeld bounds the threads that are held while the main one is looked for.
const maxHeld = 64

// offMainThread calls do while the process's first thread is kept from doing
// anything. The C library finds out about the stack of that one, which ClickHouse
// asks for, by a file under /proc that a confined process can not read.
func offMainThread(do func() error) error {
	held := make(chan struct{})
	defer close(held)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for n, found := 0, onMainThread(); !found && n < maxHeld; n++ {
		// Each has a thread of its own until the end; the first one is among
		// them once it is idle.
		is := make(chan bool)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			is <- onMainThread()
			<-held
		}()
		found = <-is
	}
	done := make(chan error, 1)
	go func() { done <- do() }()
	return <-done
}
