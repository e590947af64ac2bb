// Command dray hauls data into ClickHouse. See package cli for its verbs, and
// pipelines/dray for how to build one's own with stages and sources in Go.
package main

import (
	"os"

	"drayage/pkg/cli"
)

func main() { os.Exit(cli.Program(cli.Extensions{})) }
