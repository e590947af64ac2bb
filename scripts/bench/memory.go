package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// watchMemory samples the memory of a process and of all it started, until the
// function it returns is called, which gives the highest in MiB: what belongs
// to each process, and of the pages of files, which are those of the same
// library, the largest set. The kernel keeps these counters; asking for exact
// proportional sets walks the page tables and slows down what is measured.
func watchMemory(pid int) func() float64 {
	stop, peak := make(chan struct{}), make(chan float64)
	go func() {
		highest := 0.0
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				own, files := tree(pid)
				highest = max(highest, own+files)
			case <-stop:
				peak <- highest
				return
			}
		}
	}()
	return func() float64 { close(stop); return <-peak }
}

// tree sums the memory of pid and its descendants, in MiB.
func tree(pid int) (own, files float64) {
	own, files = resident(pid)
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // the process has ended
		}
		for _, child := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				more, mapped := tree(n)
				own, files = own+more, max(files, mapped)
			}
		}
	}
	return own, files
}

// resident is the memory of one process: its own, and pages of files.
func resident(pid int) (own, files float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, 0 // the process has ended
	}
	var size, all, shared float64
	if _, err := fmt.Sscan(string(text), &size, &all, &shared); err != nil {
		return 0, 0
	}
	page := float64(os.Getpagesize()) / (1 << 20)
	return (all - shared) * page, shared * page
}
