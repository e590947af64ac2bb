// Command dray hauls data into ClickHouse. See package cli for its verbs.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"drayage/pkg/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	code := cli.Main(ctx, os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	os.Exit(code)
}
