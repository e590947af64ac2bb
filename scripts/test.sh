#!/bin/sh
# Runs every test. The packages in which goroutines of many kinds meet are tested
# under the race detector, and with RACE=1 all are, which takes about twice as long.
# It needs cgo and a C compiler: without one nothing is tested under it, except in
# CI, where that is a failure.
set -eu
cd "$(dirname "$0")/.."
heart='^drayage/(coordinator|coordinator/api(/.*)?|pkg/queue|worker)$'
if [ -n "${RACE:-}" ]; then
	heart=.
elif [ -z "${CI:-}" ] && ! command -v "$(go env CC)" >/dev/null 2>&1; then
	echo "there is no C compiler: nothing is tested under the race detector" >&2
	heart='^$'
fi
# The race detector lets each process sleep for a second when it exits, to hear of
# late races; the tests start thousands of processes.
GORACE="${GORACE:-atexit_sleep_ms=20}"
export GORACE

packages=$(go list ./...)
# run tests the packages on standard input, if there are any.
run() {
	# More at once than CPUs: most tests wait for processes.
	# make lint vets.
	xargs -r go test -vet=off -p 3 -parallel 4 -timeout 15m "$@"
}
failed=0
echo "$packages" | grep -Ev "$heart" | run "$@" || failed=1
echo "$packages" | grep -E "$heart" | run -race "$@" || failed=1
exit $failed
