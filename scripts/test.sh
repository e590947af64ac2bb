#!/bin/sh
# Runs every test under the race detector, which needs cgo and a C compiler.
# RACE=0 leaves it out.
set -eu
cd "$(dirname "$0")/.."
race=-race
if [ "${RACE:-1}" = 0 ]; then
	race=
fi
# The race detector lets each process sleep for a second when it exits, to hear
# of late races; the tests start thousands of processes.
GORACE="${GORACE:-atexit_sleep_ms=20}"
export GORACE
# More at once than CPUs: most tests wait for processes.
# make lint vets.
# shellcheck disable=SC2086 # none or one word
exec go test -vet=off $race -p 3 -parallel 4 -timeout 15m "$@" ./...
