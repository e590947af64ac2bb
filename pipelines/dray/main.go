// Command dray is Drayage with the stages and the source of pipelines/ built in: a
// dray of one's own. Build it with
//
//	go build -o bin/dray-own ./pipelines/dray
package main

import (
	"os"

	"drayage/pipelines/fixedwidth"
	"drayage/pipelines/stages"
	"drayage/pkg/cli"
	"drayage/pkg/source"
)

func main() {
	os.Exit(cli.Program(cli.Extensions{
		Stages:  stages.All(),
		Sources: source.Registry{"fixedwidth": source.New(fixedwidth.New)},
	}))
}
