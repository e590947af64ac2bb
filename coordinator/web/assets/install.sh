#!/bin/sh
# Puts the front-end libraries that the page is served with into library/, next
# to this file, where they are kept with the code. Versions and integrity are
# those of package-lock.json. Run it after changing package.json and the lock:
# library/MANIFEST, which a test reads, then names the files again.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
command -v npm >/dev/null || { echo "web: npm is needed to fetch the libraries" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/package-lock.json" "$work/"
(cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)

library="$here/library"
rm -rf "$library"
mkdir "$library"
{
	echo "# Files of npm packages as they are: package, its integrity in package-lock.json, file, SHA-256."
	keep() { # package, file in it, name here
		cp "$work/node_modules/$1/$2" "$library/$3"
		printf '%s %s %s %s\n' "$1" \
			"$(node -p "require('$here/package-lock.json').packages['node_modules/$1'].integrity")" \
			"$3" "$(sha256sum "$library/$3" | cut -d' ' -f1)"
	}
	keep htmx.org dist/htmx.min.js htmx.min.js
	keep htmx.org dist/ext/hx-sse.min.js hx-sse.min.js
	keep htmx.org LICENSE htmx.LICENSE
	keep uplot dist/uPlot.iife.min.js uPlot.iife.min.js
	keep uplot dist/uPlot.min.css uPlot.min.css
	keep uplot LICENSE uPlot.LICENSE
} >"$library/MANIFEST"
echo "web: $(grep -vc '^#' "$library/MANIFEST") files are in $library"
