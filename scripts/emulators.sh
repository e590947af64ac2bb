#!/bin/sh
# Installs the servers of object stores that the tests start, each into the
# user's cache, at the version that its folder pins. Does nothing that was done.
set -eu
cd "$(dirname "$0")/.."
sh pkg/testkit/gcstest/install.sh
sh pkg/testkit/azuretest/install.sh
