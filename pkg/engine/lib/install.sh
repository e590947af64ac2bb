#!/bin/sh
# Installs libchdb, the ClickHouse engine, into the user's cache (178 MB), unless
# DRAY_LIBCHDB is set.
set -eu

here=$(cd "$(dirname "$0")" && pwd)

if [ -n "${DRAY_LIBCHDB:-}" ]; then
	if [ ! -f "$DRAY_LIBCHDB" ]; then
		echo "engine: DRAY_LIBCHDB names $DRAY_LIBCHDB, which does not exist" >&2
		exit 1
	fi
	echo "engine: using $DRAY_LIBCHDB (DRAY_LIBCHDB)"
	exit 0
fi
system="$(uname -s) $(uname -m)"
if [ "$system" != "Linux x86_64" ]; then
	echo "engine: no library is pinned for $system; install libchdb 26 yourself (npm: @chdb/lib-<os>-<arch>) and set DRAY_LIBCHDB to its path" >&2
	exit 1
fi
exec sh "$here/../../../scripts/npm.sh" "$here" engine node_modules/@chdb/lib-linux-x64-gnu/libchdb.so
