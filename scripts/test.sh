#!/bin/sh
# Runs every test. With RACE=1 under the race detector, which needs cgo and a C
# compiler and takes about twice as long.
set -eu
cd "$(dirname "$0")/.."
race=
if [ -n "${RACE:-}" ]; then
	race=-race
	# The race detector lets each process sleep for a second when it exits, to hear
	# of late races; the tests start thousands of processes.
	GORACE="${GORACE:-atexit_sleep_ms=20}"
	export GORACE
fi
# More at once than CPUs: most tests wait for processes.
# make lint vets.
# shellcheck disable=SC2086 # none or one word
exec go test -vet=off $race -p 3 -parallel 4 -timeout 15m "$@" ./...
