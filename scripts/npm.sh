#!/bin/sh
# npm.sh FOLDER NAME KEEP installs the npm package that FOLDER/package.json pins
# into the user's cache: KEEP, a path in what npm makes, becomes
# drayage/NAME/VERSION/ and its last part there. Versions and integrity are those
# of FOLDER/package-lock.json; npm's own configuration says where it is fetched
# from. Does nothing when it is there.
set -eu

folder=$1 name=$2 keep=$3
version=$(sed -n '/"dependencies"/,/}/s/.*": "\([^"]*\)".*/\1/p' "$folder/package.json")
cache="${XDG_CACHE_HOME:-$HOME/.cache}/drayage/$name"
target="$cache/$version"
there="$target/${keep##*/}"

if [ -e "$there" ]; then
	echo "$name: $there is installed"
	exit 0
fi
if ! command -v npm >/dev/null; then
	echo "$name: npm is needed to install it" >&2
	exit 1
fi

echo "$name: installing $version into $target"
mkdir -p "$cache"
work=$(mktemp -d "$cache/.install.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$folder/package.json" "$folder/package-lock.json" "$work/"
(cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
mkdir "$work/out"
mv "$work/$keep" "$work/out/"
# One rename: two installations at once, or one cut short, leave no half.
if ! mv -T "$work/out" "$target" 2>/dev/null && [ ! -e "$there" ]; then
	echo "$name: could not move it to $target" >&2
	exit 1
fi
echo "$name: installed $there"
