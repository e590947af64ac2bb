// Package testkit holds what the tests of several packages share.
package testkit

import (
	"context"
	"fmt"
	"os"

	"drayage/pkg/engine"
)

// Engine makes a test binary serve as the engine that its tests start:
// engine.Start runs this executable with "engine", and so called it serves
// and ends. Otherwise Engine returns at once. It is the first line of TestMain.
func Engine() {
	if len(os.Args) < 2 || os.Args[1] != "engine" {
		return
	}
	if err := engine.ServeFromEnv(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
