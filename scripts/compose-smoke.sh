#!/bin/sh
# Proves Dockerfile, docker-compose.yml and scripts/publish-job.sh on a real
# Docker engine: builds the images, brings the stack up, scales the workers to
# three, publishes jobs, kills a worker in the middle of one, counts the rows in
# ClickHouse and takes everything down again.
#
#   make compose-smoke          # needs root on Debian where Docker is missing
#
# On a machine that can pull images it uses the official ones. Where it can not,
# it makes stand-ins under the same names, from Debian's packages, this
# machine's Go, Node and certificates, nats-server's own module, and dray engine
# for ClickHouse. Stand-ins prove our files and our programs, not the official
# images; the script says which it used.
#
#   SMOKE_ROWS=2000000   rows of the job in which a worker is killed
#   SMOKE_KEEP=1         leave the stack (and a Docker engine started here) up
#   SMOKE_PULL_TIMEOUT   seconds to try a pull for, default 600
#   DEBIAN_MIRROR        for debootstrap, default: its own
set -eu

cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/drayage
rows=${SMOKE_ROWS:-2000000}
compose_version=v2.40.3

mkdir -p "$cache"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dray-smoke.XXXXXX")
chmod 755 "$tmp" # the containers' user reads what is mounted from it
begin=$(date +%s)
stack='' dockerd_pid='' stand_ins='' step='start'

say() { printf '%5ss  %s\n' $(($(date +%s) - begin)) "$*"; }
step() {
	step=$*
	say "== $*"
}
fail() {
	say "FAILED: $step: $*" >&2
	exit 1
}
check() { # check WHAT GOT WANTED
	[ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"
	say "   $1: $2"
}

cleanup() {
	code=$?
	trap - EXIT INT TERM
	set +e
	if [ "$code" -ne 0 ] && [ -n "$stack" ]; then
		say "the stack when it failed:"
		docker compose ps --all
		docker compose logs --no-color --tail 40
	fi
	if [ "$code" -ne 0 ] && [ -s "$tmp/dockerd.log" ]; then
		say "the end of dockerd's log:"
		tail -n 20 "$tmp/dockerd.log"
	fi
	if [ -n "${SMOKE_KEEP:-}" ]; then
		[ "$code" -ne 0 ] || say "PASSED"
		say "kept: DOCKER_HOST=${DOCKER_HOST:-} COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-} $tmp"
		exit "$code"
	fi
	[ -z "$stack" ] || docker compose down --volumes --timeout 5 >/dev/null 2>&1
	if [ -n "$dockerd_pid" ]; then
		kill "$dockerd_pid" 2>/dev/null
		wait "$dockerd_pid" 2>/dev/null
		# It leaves the mount of a network namespace.
		awk -v under="$tmp/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do umount "$mount"; done
	else
		# A stand-in must not be taken for the official image later.
		# shellcheck disable=SC2086 # a list of names
		[ -z "$stand_ins" ] || docker image rm --force $stand_ins >/dev/null 2>&1
		docker image rm --force drayage:smoke >/dev/null 2>&1
	fi
	# Never into a mount that is still there.
	rm -rf --one-file-system "$tmp" || { say "could not remove $tmp" >&2; [ "$code" -ne 0 ] || code=1; }
	if [ "$code" -eq 0 ]; then say "PASSED"; else say "NOT PASSED (exit $code)"; fi
	exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- Docker

step "Docker engine"
if ! docker info >/dev/null 2>&1; then
	[ "$(id -u)" = 0 ] || fail "there is no Docker engine for this user; start it, or run this as root"
	if ! command -v dockerd >/dev/null; then
		command -v apt-get >/dev/null || fail "dockerd is not installed; this script can install it on Debian only"
		say "   installing docker.io"
		apt-get update >"$tmp/apt.log" 2>&1 &&
			RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends docker.io iptables >>"$tmp/apt.log" 2>&1 ||
			{ tail -n 5 "$tmp/apt.log"; fail "installing docker.io"; }
	fi
	# All of its own in our folder: nothing of it is left, and a Docker engine
	# that is started later does not see it. It chooses its storage driver by
	# itself: overlay2 where the kernel can, else vfs, which copies every layer.
	DOCKER_HOST=unix://$tmp/docker.sock
	export DOCKER_HOST
	dockerd --host "$DOCKER_HOST" --bridge none \
		--data-root "$tmp/docker" --exec-root "$tmp/exec" --pidfile "$tmp/docker.pid" >"$tmp/dockerd.log" 2>&1 &
	dockerd_pid=$!
	tries=0
	until docker info >/dev/null 2>&1; do
		kill -0 "$dockerd_pid" 2>/dev/null || fail "dockerd ended"
		tries=$((tries + 1))
		[ $tries -lt 60 ] || fail "dockerd does not answer after a minute"
		sleep 1
	done
	say "   started dockerd $(docker version --format '{{.Server.Version}}') ($(docker info --format '{{.Driver}}')) for this test"
else
	say "   using the dockerd $(docker version --format '{{.Server.Version}}') that is running"
fi

step "Docker Compose"
case $(docker compose version --short 2>/dev/null) in
2.* | v2.* | [3-9].* | v[3-9].*) ;;
*)
	plugin=$cache/docker-compose-$compose_version
	if [ ! -x "$plugin" ]; then
		command -v go >/dev/null || fail "Docker Compose v2 is not installed, and there is no Go to build it with"
		say "   building $compose_version (5 to 10 minutes, once)"
		mkdir "$tmp/compose"
		(
			cd "$tmp/compose"
			go mod init composebuild
			go get -tool "github.com/docker/compose/v2/cmd@$compose_version"
			CGO_ENABLED=0 go build -ldflags "-X github.com/docker/compose/v2/internal.Version=$compose_version" -o docker-compose github.com/docker/compose/v2/cmd
		) >"$tmp/compose.log" 2>&1 || { tail -n 5 "$tmp/compose.log"; fail "building it"; }
		mv "$tmp/compose/docker-compose" "$plugin"
	fi
	# As a plugin, so that docker compose is the same command everywhere. The
	# user's own plugins and logins stay as they are.
	DOCKER_CONFIG=$tmp/docker-config
	export DOCKER_CONFIG
	mkdir -p "$DOCKER_CONFIG/cli-plugins"
	ln -s "$plugin" "$DOCKER_CONFIG/cli-plugins/docker-compose"
	;;
esac
say "   docker compose $(docker compose version --short), docker $(docker version --format '{{.Client.Version}}')"

# Without buildx, the builder of the engine itself.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0

export COMPOSE_PROJECT_NAME=drayage-smoke COMPOSE_FILE=docker-compose.yml:scripts/compose/smoke.yml
export DRAY_VERSION=smoke
export DRAY_NATS_PORT=0 DRAY_CLICKHOUSE_PORT=0 # any free one
export DRAY_SLOTS=2 # so that a machine with many cores is not done before a worker can be killed
export SMOKE_DATA="$tmp/data"
unset DRAY_NATS_URL NATS_URL DRAY_PIPELINES DRAY_CLICKHOUSE_SECRET DRAY_CLICKHOUSE_USER
mkdir -p "$SMOKE_DATA"
docker compose config --quiet || fail "docker-compose.yml is not valid"

# ---- base images

from() { sed -n "s/^FROM \($1:[^ ]*\).*/\1/p" Dockerfile; }
debian=$(from debian) golang=$(from golang) node=$(from node)
nats=$(docker compose config --images | sed -n '/^nats:/p')
clickhouse=$(docker compose config --images | sed -n '/^clickhouse\//p')
for name in "$debian" "$golang" "$node" "$nats" "$clickhouse"; do
	[ -n "$name" ] || fail "an image's name was not found in Dockerfile or docker-compose.yml"
done

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
# Stand-ins have no network but the host's while they build.
[ -z "$unreachable" ] || export SMOKE_BUILD_NETWORK=host

# ---- our images

step "Building our images"
docker compose build >"$tmp/build.log" 2>&1 || { tail -n 30 "$tmp/build.log"; fail "docker compose build"; }
# The same arguments as above, so that it comes from the builder's cache.
docker build --network "${SMOKE_BUILD_NETWORK:-default}" --build-arg VERSION=smoke --build-arg GOPROXY --build-arg GOSUMDB --build-arg GOPRIVATE \
	--target slim -t drayage:smoke-slim . >"$tmp/build.log" 2>&1 ||
	{ tail -n 30 "$tmp/build.log"; fail "the target slim"; }
size() { docker image inspect --format '{{.Size}}' "$1" | awk '{printf "%.0f MB", $1/1e6}'; }
say "   drayage:smoke $(size drayage:smoke), of it slim $(size drayage:smoke-slim)"
check "user of the image" "$(docker image inspect --format '{{.Config.User}}' drayage:smoke)" 10001:10001
stand_ins="$stand_ins drayage:smoke-slim" # to be removed, too
# The binary of the image, for this script's own use and as a proof of slim.
box=$(docker create drayage:smoke-slim)
docker cp "$box:/usr/local/bin/dray" "$tmp/dray" >/dev/null
docker rm "$box" >/dev/null
say "   $("$tmp/dray" version)"

have "$clickhouse" || {
	mkdir "$tmp/clickhouse"
	cp scripts/compose/clickhouse-stand-in.sh "$tmp/clickhouse/"
	need_tools
	stand_in "$clickhouse" "$tmp/clickhouse" "dray engine" <<-EOF
		FROM drayage:smoke AS dray
		FROM $tools
		COPY --from=dray /usr/local/bin/dray /usr/local/bin/dray
		COPY --from=dray /usr/local/lib/libchdb.so /usr/local/lib/libchdb.so
		COPY clickhouse-stand-in.sh /entrypoint.sh
		ENTRYPOINT ["sh", "/entrypoint.sh"]
	EOF
}

# ---- the stack

step "docker compose up"
stack=yes
docker compose up --detach >"$tmp/up.log" 2>&1 || { tail -n 20 "$tmp/up.log"; fail "docker compose up"; }

# healthy SERVICE N: N containers of it run and are healthy.
healthy() {
	tries=0
	while :; do
		docker compose ps --format '{{.Health}}' "$1" >"$tmp/ps"
		[ "$(grep -c '^healthy$' "$tmp/ps")" != "$2" ] || break
		tries=$((tries + 1))
		[ $tries -lt 120 ] || fail "$1 is not healthy: $(tr '\n' ' ' <"$tmp/ps")"
		sleep 1
	done
	say "   $1: $2 healthy"
}
for service in nats clickhouse coordinator worker; do healthy $service 1; done

port() { docker compose port "$1" "$2" | sed 's/.*://'; }
clickhouse_port=$(port clickhouse 8123)
nats_port=$(port nats 4222)
[ -n "$clickhouse_port" ] && [ -n "$nats_port" ] || fail "the ports of NATS and ClickHouse are not published"
check "address of ClickHouse on this machine" "$(docker compose port clickhouse 8123 | sed 's/:[0-9]*$//')" 127.0.0.1
password=$(cat scripts/compose/clickhouse-password.dev)
sql() { curl --silent --show-error --fail-with-body --user "dray:$password" --data-binary "$1" "http://127.0.0.1:$clickhouse_port/" || fail "ClickHouse refused: $1"; }
anonymous=$(curl --silent --output /dev/null --write-out '%{http_code}' --data-binary 'SELECT 1' "http://127.0.0.1:$clickhouse_port/")
case $anonymous in
40[13]) say "   ClickHouse without the password: refused with $anonymous" ;;
*) fail "ClickHouse without the password answers $anonymous" ;;
esac
say "   ClickHouse $(sql 'SELECT version()')"
check "user of the worker's processes" "$(docker compose exec -T worker id -u)" 10001

step "docker compose up --scale worker=3"
docker compose up --detach --scale worker=3 >"$tmp/up.log" 2>&1 || { tail -n 20 "$tmp/up.log"; fail "scaling"; }
healthy worker 3

# Only for the script: another port in the environment of docker compose would make NATS anew.
publish() { DRAY=$tmp/dray DRAY_NATS_PORT=$nats_port sh scripts/publish-job.sh "$@"; }

step "publish-job.sh: flights, through the coordinator's container"
publish pipelines/flights.yaml --via compose --key smoke --wait || fail "exit $?"
check "rows of flights" "$(sql 'SELECT count() FROM flights')" 20000
check "flights whose city is known" "$(sql "SELECT count() > 0 FROM flights WHERE city != ''")" 1

step "publish-job.sh: birdstrikes, through dray on this machine"
publish pipelines/birdstrikes.yaml --via dray --key smoke --set since=1990-01-01 --wait || fail "exit $?"
check "rows of birdstrikes" "$(sql 'SELECT count() FROM birdstrikes')" 10000

step "publish-job.sh: the same key again is the same job"
publish pipelines/flights.yaml --via dray --key smoke --wait || fail "exit $?"
check "rows of flights" "$(sql 'SELECT count() FROM flights')" 20000

if command -v nats >/dev/null; then
	step "publish-job.sh: birdstrikes again, through the NATS command line"
	publish pipelines/birdstrikes.yaml --via nats --key smoke-nats --set since=2001-01-01 --wait || fail "exit $?"
	check "rows of birdstrikes" "$(sql "SELECT count() = 10000 + countIf(_job = 'birdstrikes-smoke' AND flown >= toDate32('2001-01-01')) FROM birdstrikes")" 1
else
	say "-- publish-job.sh through the NATS command line: left out, nats is not installed"
fi

step "a mistake in a job is told"
sed 's/^    distance$/    no_such_column/' pipelines/flights.yaml >"$SMOKE_DATA/bad.yaml"
if publish "$SMOKE_DATA/bad.yaml" --via dray --dir /pipelines --wait 2>"$tmp/bad.log"; then fail "it succeeded"; fi
grep -q no_such_column "$tmp/bad.log" || fail "the error does not name the column: $(cat "$tmp/bad.log")"
say "   $(grep no_such_column "$tmp/bad.log" | head -n 1 | cut -c 1-150)"

step "a worker is killed in the middle of $rows rows"
awk -v n="$rows" 'BEGIN { for (i = 0; i < n; i++) printf "%d,name %d,\"a text, with a comma %d\",%d.%02d\n", i, i % 1000, i * 7, i % 5000, i % 100 }' >"$SMOKE_DATA/big.csv"
cat >"$SMOKE_DATA/big.yaml" <<-'EOF'
	pipeline: big
	source:
	  files: {path: big.csv, header: false}
	  columns: "id UInt64, name String, note String, amount Float64"
	  chunk: 1MiB
	transform: |
	  SELECT id, name, note, amount, cityHash64(note) AS hash FROM chunk
	load:
	  table: big
	  create: ENGINE = MergeTree ORDER BY id
EOF
say "   $(du -m "$SMOKE_DATA/big.csv" | cut -f 1) MB of CSV"
job=$(publish "$SMOKE_DATA/big.yaml" --via dray --dir /smoke --key smoke) || fail "publishing"
show() { DRAY_NATS_URL=nats://127.0.0.1:$nats_port "$tmp/dray" show "$job" --json; }
field() { sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\).*/\1/p" | head -n 1; }
redelivered() { grep -o '"redelivered": [0-9]*' "$tmp/show.json" | sed 's/.* //'; }
wait_for_rows() { # until a tenth of the job's rows is in ClickHouse
	tries=0
	while :; do
		landed=$(landed_of)
		[ "$landed" -lt $((rows / 10)) ] || break
		tries=$((tries + 1))
		[ $tries -lt 1200 ] || fail "the job does not move: $(show)"
		sleep 0.1
	done
}
wait_for_end() {
	tries=0
	while :; do
		state=$(show | field state)
		case $state in DONE | DONE_WITH_REJECTS | FAILED | CANCELLED) break ;; esac
		tries=$((tries + 1))
		[ $tries -lt 600 ] || fail "the job does not end: $(show)"
		sleep 0.5
	done
}
landed_of() {
	if [ "$(sql "SELECT count() FROM system.tables WHERE database = 'default' AND name = 'big'")" = 0 ]; then echo 0; else sql 'SELECT count() FROM big'; fi
}
wanted=$(awk -v n="$rows" 'BEGIN { printf "%d,%d,%.0f", n, n, n * (n - 1) / 2 }')
victim=$(docker compose ps --quiet worker | head -n 1)
wait_for_rows
docker kill --signal KILL "$victim" >/dev/null
killed=$(date +%s)
landed=$(landed_of)
[ "$landed" -lt "$rows" ] || fail "the job was done before the worker was killed: raise SMOKE_ROWS"
say "   killed $(docker inspect --format '{{.Name}}' "$victim" | cut -c 2-) with $landed of $rows rows in ClickHouse"
check "workers that run" "$(docker compose ps --status running --quiet worker | wc -l | tr -d ' ')" 2
wait_for_end
check "state of the job" "$state" DONE
say "   it took $(($(date +%s) - killed)) s more"
show >"$tmp/show.json"
say "   chunks: $(field chunks <"$tmp/show.json"), finished by a second attempt: $(redelivered)"
check "rows, distinct ids, sum of ids" "$(sql 'SELECT count(), uniqExact(id), sum(id) FROM big FORMAT CSV')" "$wanted"
[ "$(redelivered)" -gt 0 ] || fail "no chunk had a second attempt: the worker was killed while it had none"

step "docker compose up brings the third worker back"
docker compose up --detach --scale worker=3 >"$tmp/up.log" 2>&1 || fail "docker compose up: $(tail -n 3 "$tmp/up.log")"
healthy worker 3

step "workers that are stopped in the middle of $rows rows drain"
first=$job
job=$(publish "$SMOKE_DATA/big.yaml" --via dray --dir /smoke --key smoke-drain) || fail "publishing"
landed_of() { sql "SELECT count() FROM big WHERE _job = '$job'"; }
wait_for_rows
before=$(date +%s)
docker compose stop worker >/dev/null 2>&1 || fail "docker compose stop"
check "exit codes" "$(docker compose ps --all --format '{{.ExitCode}}' worker | sort -u | tr '\n' ' ' | sed 's/ $//')" 0
landed=$(landed_of)
[ "$landed" -lt "$rows" ] || fail "the job was done before the workers were stopped: raise SMOKE_ROWS"
say "   in $(($(date +%s) - before)) s, with $landed of $rows rows in ClickHouse"

step "NATS and ClickHouse restart, the workers come back and finish the job"
docker compose restart nats clickhouse >/dev/null 2>&1 || fail "docker compose restart"
docker compose up --detach --scale worker=3 >"$tmp/up.log" 2>&1 || fail "docker compose up: $(tail -n 3 "$tmp/up.log")"
clickhouse_port=$(port clickhouse 8123)
nats_port=$(port nats 4222)
wait_for_end
check "state of the job" "$state" DONE
show >"$tmp/show.json"
say "   chunks finished by a second attempt: $(redelivered)"
check "rows, distinct ids, sum of ids of this job" "$(sql "SELECT count(), uniqExact(id), sum(id) FROM big WHERE _job = '$job' FORMAT CSV")" "$wanted"
check "the same of the job before" "$(sql "SELECT count(), uniqExact(id), sum(id) FROM big WHERE _job = '$first' FORMAT CSV")" "$wanted"
check "rows in the ledger that tell of both" "$(sql "SELECT uniqExact(job) FROM drayage.ledger WHERE job IN ('$first', '$job')")" 2

step "docker compose down --volumes"
docker compose down --volumes >"$tmp/down.log" 2>&1 || fail "$(tail -n 3 "$tmp/down.log")"
stack=''
check "containers left" "$(docker ps --all --quiet --filter label=com.docker.compose.project=drayage-smoke | wc -l | tr -d ' ')" 0
check "volumes left" "$(docker volume ls --quiet --filter label=com.docker.compose.project=drayage-smoke | wc -l | tr -d ' ')" 0
