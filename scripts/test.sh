#!/bin/sh
# Runs every test. The race detector needs cgo and a C compiler; where they are
# missing the tests run without it, and say so.
set -eu
cd "$(dirname "$0")/.."
race=
if [ "$(go env CGO_ENABLED)" = 1 ] && command -v "$(go env CC)" >/dev/null 2>&1; then
	race=-race
else
	echo 'test: no C compiler, so the race detector is off' >&2
fi
# The race detector lets each process sleep for a second when it exits, to hear of
# late races; the tests start thousands of processes.
GORACE="${GORACE:-atexit_sleep_ms=20}"
export GORACE
# More at once than CPUs: most tests wait for processes.
# make lint vets.
exec go test -vet=off $race -p 3 -parallel 4 -timeout 15m "$@" ./...
