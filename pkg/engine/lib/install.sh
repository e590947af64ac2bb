#!/bin/sh
# Installs libchdb, the ClickHouse engine, into the user's cache. Version and
# integrity are those of package-lock.json; npm's own configuration says where
# it is fetched from. Does nothing when it is there, or when DRAY_LIBCHDB is set.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's/.*"@chdb\/lib-linux-x64-gnu": "\([^"]*\)".*/\1/p' "$here/package.json")
cache="${XDG_CACHE_HOME:-$HOME/.cache}/drayage/engine"
target="$cache/$version"

if [ -n "${DRAY_LIBCHDB:-}" ]; then
	if [ ! -f "$DRAY_LIBCHDB" ]; then
		echo "engine: DRAY_LIBCHDB names $DRAY_LIBCHDB, which does not exist" >&2
		exit 1
	fi
	echo "engine: using $DRAY_LIBCHDB (DRAY_LIBCHDB)"
	exit 0
fi
if [ -f "$target/libchdb.so" ]; then
	echo "engine: $target/libchdb.so is installed"
	exit 0
fi
system="$(uname -s) $(uname -m)"
if [ "$system" != "Linux x86_64" ]; then
	echo "engine: no library is pinned for $system; install libchdb 26 yourself (npm: @chdb/lib-<os>-<arch>) and set DRAY_LIBCHDB to its path" >&2
	exit 1
fi
if ! command -v npm >/dev/null; then
	echo "engine: npm is needed to install libchdb; or set DRAY_LIBCHDB to the path of libchdb.so" >&2
	exit 1
fi

echo "engine: installing libchdb $version (178 MB) into $target"
mkdir -p "$cache"
work=$(mktemp -d "$cache/.install.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/package-lock.json" "$work/"
(cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
mkdir "$work/out"
mv "$work/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so" "$work/out/libchdb.so"
# One rename: two installations at once, or one cut short, leave no half.
if ! mv -T "$work/out" "$target" 2>/dev/null; then
	[ -f "$target/libchdb.so" ] || { echo "engine: could not move the library to $target" >&2; exit 1; }
fi
echo "engine: installed $target/libchdb.so"
