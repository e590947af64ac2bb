#!/bin/sh
# Builds the Google Cloud Storage of the tests into the user's cache, from the
# module in the folder server at the versions that it pins. Does nothing when it
# is there.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# gcstest.go says the same.
key=$(cat "$here/server/go.mod" "$here/server/main.go" | sha256sum | cut -c1-16)
target="${XDG_CACHE_HOME:-$HOME/.cache}/drayage/gcstest/$key"

if [ -x "$target" ]; then
	echo "gcstest: $target is installed"
	exit 0
fi
echo "gcstest: building fake-gcs-server into $target"
mkdir -p "$(dirname "$target")"
work=$(mktemp "$target.XXXXXX")
trap 'rm -f "$work"' EXIT
(cd "$here/server" && CGO_ENABLED=0 GOWORK=off go build -trimpath -ldflags '-s -w' -o "$work" .)
chmod 755 "$work"
mv "$work" "$target"
echo "gcstest: installed $target"
