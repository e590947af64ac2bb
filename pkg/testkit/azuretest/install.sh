#!/bin/sh
# Installs Azurite, the Azure Storage of the tests, into the user's cache. Version
# and integrity are those of package-lock.json; npm's own configuration says where
# it is fetched from. Does nothing when it is there.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's/.*"azurite": "\([^"]*\)".*/\1/p' "$here/package.json")
cache="${XDG_CACHE_HOME:-$HOME/.cache}/drayage/azuretest"
target="$cache/$version"

if [ -d "$target/node_modules/azurite" ]; then
	echo "azuretest: $target is installed"
	exit 0
fi
if ! command -v npm >/dev/null; then
	echo "azuretest: npm is needed to install azurite" >&2
	exit 1
fi

echo "azuretest: installing azurite $version into $target"
mkdir -p "$cache"
work=$(mktemp -d "$cache/.install.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/out"
cp "$here/package.json" "$here/package-lock.json" "$work/out/"
(cd "$work/out" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
# One rename: two installations at once, or one cut short, leave no half.
if ! mv -T "$work/out" "$target" 2>/dev/null; then
	[ -d "$target/node_modules/azurite" ] || { echo "azuretest: could not move azurite to $target" >&2; exit 1; }
fi
echo "azuretest: installed $target"
