# The second part of scripts/compose-smoke, which reads it in: the base images,
# pulled, or stand-ins under the same names where nothing can be pulled.
# shellcheck shell=sh disable=SC2154 # tmp, cache and the like are of the script

# have IMAGE: it is here, or can be pulled. A stand-in that an earlier run left
# behind does not count.
have() {
	if [ "$(docker image inspect --format '{{index .Config.Labels "drayage.stand-in"}}' "$1" 2>/dev/null)" = "" ] &&
		docker image inspect "$1" >/dev/null 2>&1; then
		return 0
	fi
	[ -z "$unreachable" ] || return 1
	if timeout "${SMOKE_PULL_TIMEOUT:-600}" docker pull "$1" >"$tmp/pull.log" 2>&1; then
		say "   $1: the official image"
		return 0
	fi
	unreachable=yes # one try is enough to know that nothing can be pulled
	say "   images can not be pulled here: $(tail -n 1 "$tmp/pull.log" | cut -c 1-120)"
	return 1
}
stand_in() { # stand_in IMAGE FOLDER WHAT < Dockerfile
	sed '$a LABEL drayage.stand-in=yes' >"$tmp/stand-in.Dockerfile"
	docker build --network host -t "$1" -f "$tmp/stand-in.Dockerfile" "$2" >"$tmp/build.log" 2>&1 ||
		{ tail -n 15 "$tmp/build.log"; fail "the stand-in for $1"; }
	stand_ins="$stand_ins $1"
	say "   $1: stand-in, $3"
}
# A Debian with what the official images of Go, Node, NATS and ClickHouse have
# and the slim one has not.
tools=drayage-smoke-tools
need_tools() {
	! docker image inspect $tools >/dev/null 2>&1 || return 0
	mkdir -p "$tmp/tools"
	# This machine's certificates, in case a proxy of its own is among them.
	cat "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" >"$tmp/tools/ca-certificates.crt"
	stand_in $tools "$tmp/tools" "Debian with certificates and wget" <<-EOF
		FROM $debian
		RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates wget && rm -rf /var/lib/apt/lists/*
		COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
	EOF
}

step "Base images"
unreachable=''
have "$debian" || {
	archive=$cache/debian-bookworm.tar
	if [ ! -f "$archive" ]; then
		[ "$(id -u)" = 0 ] || fail "debootstrap needs root"
		command -v debootstrap >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends debootstrap >"$tmp/apt.log" 2>&1 ||
			{ tail -n 5 "$tmp/apt.log"; fail "installing debootstrap"; }
		say "   making a minimal Debian with debootstrap (a minute or three, once)"
		debootstrap --variant=minbase bookworm "$tmp/debian" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$tmp/debootstrap.log" 2>&1 ||
			{ tail -n 5 "$tmp/debootstrap.log"; fail "debootstrap"; }
		tar -C "$tmp/debian" --exclude './var/cache/apt/archives/*.deb' --exclude './var/lib/apt/lists/*' -cf "$archive.new" .
		mv "$archive.new" "$archive"
		rm -rf "$tmp/debian"
	fi
	docker import --change 'CMD ["bash"]' --change 'LABEL drayage.stand-in=yes' "$archive" "$debian" >/dev/null || fail "importing Debian"
	stand_ins="$stand_ins $debian"
	say "   $debian: stand-in, debootstrap minbase"
}
have "$golang" || {
	need_tools
	goroot=$(go env GOROOT)
	stand_in "$golang" "$goroot" "$(go version | cut -d ' ' -f 3) of this machine" <<-EOF
		FROM $tools
		COPY . /usr/local/go
		ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPATH=/go GOTOOLCHAIN=local
		RUN go version
		WORKDIR /go
	EOF
	# Where this machine gets its modules, the stand-in gets them too.
	GOPROXY=$(go env GOPROXY) GOSUMDB=$(go env GOSUMDB)
	export GOPROXY GOSUMDB
}
have "$node" || {
	need_tools
	mkdir -p "$tmp/node/bin" "$tmp/node/lib/node_modules"
	cp "$(node -p process.execPath)" "$tmp/node/bin/node"
	cp -r "$(npm root -g 2>/dev/null)/npm" "$tmp/node/lib/node_modules/npm"
	ln -s ../lib/node_modules/npm/bin/npm-cli.js "$tmp/node/bin/npm"
	stand_in "$node" "$tmp/node" "node $(node --version) of this machine" <<-EOF
		FROM $tools
		COPY . /usr/local/
		ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
		RUN node --version && npm --version
	EOF
	NPM_CONFIG_REGISTRY=$(npm config get registry 2>/dev/null)
	export NPM_CONFIG_REGISTRY
}
have "$nats" || {
	need_tools
	version=$(printf '%s' "$nats" | sed 's/^nats:\([0-9.]*\).*/\1/')
	mkdir -p "$tmp/nats"
	GOBIN=$tmp/nats CGO_ENABLED=0 go install "github.com/nats-io/nats-server/v2@v$version" >"$tmp/nats.log" 2>&1 ||
		{ tail -n 5 "$tmp/nats.log"; fail "building nats-server"; }
	stand_in "$nats" "$tmp/nats" "nats-server v$version from its module" <<-EOF
		FROM $tools
		COPY nats-server /usr/local/bin/nats-server
		CMD ["nats-server", "--config", "/etc/nats/nats-server.conf"]
	EOF
}
have "$prometheus" || {
	need_tools
	mkdir -p "$tmp/prometheus"
	stand_in "$prometheus" "$tmp/prometheus" "Debian's prometheus" <<-EOF
		FROM $tools
		RUN apt-get update && apt-get install -y --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/* /etc/prometheus/* \\
			&& install -d -o nobody /prometheus
		USER nobody
		ENTRYPOINT ["/bin/prometheus"]
	EOF
}
# Stand-ins have no network but the host's while they build.
[ -z "$unreachable" ] || export SMOKE_BUILD_NETWORK=host
