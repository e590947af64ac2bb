#!/bin/sh
# Installs axe-core, which the tests of the page look for barriers with, into the
# user's cache. Version and integrity are those of package-lock.json; npm's own
# configuration says where it is fetched from. Does nothing when it is there.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's/.*"axe-core": "\([^"]*\)".*/\1/p' "$here/package.json")
cache="${XDG_CACHE_HOME:-$HOME/.cache}/drayage/axe"
target="$cache/$version"

if [ -f "$target/axe.min.js" ]; then
	echo "axe: $target is installed"
	exit 0
fi
if ! command -v npm >/dev/null; then
	echo "axe: npm is needed to install axe-core" >&2
	exit 1
fi

echo "axe: installing axe-core $version into $target"
mkdir -p "$cache"
work=$(mktemp -d "$cache/.install.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/package-lock.json" "$work/"
(cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
mkdir "$work/out"
mv "$work/node_modules/axe-core/axe.min.js" "$work/out/axe.min.js"
# One rename: two installations at once, or one cut short, leave no half.
if ! mv -T "$work/out" "$target" 2>/dev/null; then
	[ -f "$target/axe.min.js" ] || { echo "axe: could not move axe-core to $target" >&2; exit 1; }
fi
echo "axe: installed $target"
