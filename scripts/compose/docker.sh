# The first part of scripts/compose-smoke, which reads it in: a Docker engine and
# Docker Compose, installed, built and started where they are missing.
# shellcheck shell=sh disable=SC2154 # tmp, cache and the like are of the script

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
