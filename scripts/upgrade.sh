#!/bin/sh
# Upgrades a fleet in the middle of everything: a dray of an older revision and
# this one work side by side under the chaos suite, and members change between the
# two whenever they are killed or drained.
#
#   scripts/upgrade.sh v1.2.0 -seed 3 -faults 100
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { echo 'usage: scripts/upgrade.sh REVISION [argument of scripts/chaos]...' >&2; exit 2; }
revision=$(git rev-parse --verify "$1^{commit}")
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
mkdir "$dir/older"
git archive "$revision" | tar -x -C "$dir/older"
echo "upgrade: building $revision and this one" >&2
(cd "$dir/older" && go build -o "$dir/dray-older" .)
go build -o "$dir/dray" .
go run ./scripts/chaos -dray "$dir/dray" -older "$dir/dray-older" "$@"
