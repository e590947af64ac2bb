# The images of Drayage.
#
#   docker build -t drayage .                      # with the ClickHouse engine: coordinator and worker
#   docker build -t drayage:slim --target slim .   # without: the tools, and services that transform in the server
#
# Arguments: VERSION (what dray version says, and the image's label), REVISION
# (a label), MAIN (the package of a dray of one's own, such as ./pipelines/dray;
# see docs/stages.md).
#
# Everything is pinned by tag, by go.sum or by the engine's lock file, and what
# is built here has the same bytes every time: build it twice and compare.
# Nothing here needs BuildKit (no cache mounts, no heredocs), so that any
# builder will do; and nothing names a registry: the builder's configuration, or
# the arguments GOPROXY and NPM_CONFIG_REGISTRY, say where things come from.

# ---- the binary
FROM golang:1.26.8-bookworm AS build

# Empty means the tool's own default.
ARG GOPROXY
ARG GOSUMDB
ARG GOPRIVATE
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-buildvcs=false
WORKDIR /src

# The modules change seldom, the code often: a layer of their own.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
# Without cgo, purego makes Go's own linker reference the C library, so the
# binary is dynamic: it needs glibc beside it (debian, not scratch), and can
# load libchdb.so. "dray engine" in the smoke test proves it.
ARG VERSION=dev
ARG MAIN=.
# The times of the files are a fixed one: a layer's digest covers them.
RUN go build -trimpath -ldflags "-s -w -X drayage/pkg/version.Version=${VERSION}" -o /out/usr/local/bin/dray "${MAIN}" \
	&& /out/usr/local/bin/dray version \
	&& mkdir -p /out/etc/ssl/certs /out/usr/share/doc/drayage \
	&& cp -L /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ \
	&& cp LICENSE /out/usr/share/doc/drayage/ \
	&& cp -r pipelines /out/pipelines \
	&& chmod -R a+rX,go-w /out \
	&& find /out -exec touch --no-dereference --date @0 {} +

# ---- the user: of useradd's files only two are needed, and none with a date
FROM debian:bookworm-20260824-slim AS user

# A fixed number, so that volumes and Kubernetes' runAsNonRoot can name it.
RUN groupadd --gid 10001 dray \
	&& useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin dray \
	&& mkdir -p /out/etc /own/data \
	&& (cd /own && for of in authority nats clickhouse coordinator worker operator grafana; do mkdir -p volumes/$of; done) \
	&& cp /etc/passwd /etc/group /out/etc/ \
	&& find /out /own -exec touch --date @0 {} +

# ---- the result without the engine
FROM debian:bookworm-20260824-slim AS slim

COPY --from=user /out/ /
# A volume that is mounted here for the first time is the user's, too: the data
# of dray, and what scripts/compose/init.sh makes.
COPY --from=user --chown=10001:10001 /own/ /
COPY --from=build /out/ /

ENV DRAY_DATA_DIR=/data HOME=/data
USER 10001:10001
WORKDIR /data
EXPOSE 8390
# It asks the service on DRAY_HTTP_ADDR for /readyz. Only coordinator and
# worker serve that: for other verbs, start the container with --no-healthcheck.
HEALTHCHECK --interval=5s --timeout=6s --start-period=30s --retries=3 CMD ["dray", "health"]
ENTRYPOINT ["dray"]
CMD ["--help"]

ARG VERSION=dev
ARG REVISION
LABEL org.opencontainers.image.title="drayage" \
	org.opencontainers.image.description="Loads data into ClickHouse exactly once" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="${VERSION}" \
	org.opencontainers.image.revision="${REVISION}"

# ---- the engine's library
FROM node:20.20.2-bookworm-slim AS engine

ARG NPM_CONFIG_REGISTRY
COPY scripts/npm.sh /src/scripts/
COPY pkg/engine/lib /src/pkg/engine/lib
# Version and integrity are those of the lock file.
RUN XDG_CACHE_HOME=/cache sh /src/pkg/engine/lib/install.sh \
	&& mkdir -p /out/usr/local/lib \
	&& mv /cache/drayage/engine/*/libchdb.so /out/usr/local/lib/ \
	&& rm -rf /cache /root/.npm \
	&& chmod 0644 /out/usr/local/lib/libchdb.so \
	&& find /out -exec touch --date @0 {} +

# ---- the result, the default target
FROM slim AS full
# One of the places where dray looks for it by itself.
COPY --from=engine /out/ /
