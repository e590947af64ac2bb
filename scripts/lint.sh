#!/bin/sh
# gofmt, go vet and golangci-lint, at the version that tools/go.mod pins.
set -eu
cd "$(dirname "$0")/.."
unformatted=$(gofmt -l $(git ls-files '*.go'))
if [ -n "$unformatted" ]; then
	printf 'lint: run gofmt -w on\n%s\n' "$unformatted" >&2
	exit 1
fi
go vet ./...
exec go tool -modfile=tools/go.mod golangci-lint run ./...
