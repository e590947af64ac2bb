#!/bin/sh
# Installs the servers of object stores that the tests start, each into the
# user's cache, at the version that its folder pins. Does nothing that was done.
set -eu
cd "$(dirname "$0")/.."
# One waits for the network while the other computes.
sh scripts/npm.sh pkg/testkit/azuretest azuretest node_modules &
azure=$!
sh pkg/testkit/gcstest/install.sh
wait "$azure"
