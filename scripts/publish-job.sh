#!/bin/sh
# Publishes a pipeline file as a job of a Drayage fleet. Any POSIX shell will do,
# and one of curl, dray, nats (the NATS command line) and docker compose.
#
#   scripts/publish-job.sh FILE [--set name=value]... [--key KEY] [--dir DIR]
#                               [--wait] [--via http|dray|nats|compose]
#
#   --set name=value  set a parameter of the pipeline; may be repeated
#   --key KEY         the job is named PIPELINE-KEY. Publishing the same key again
#                     is not doing it again: the first job stays the only one
#   --dir DIR         folder on the workers at which relative paths in FILE start
#   --wait            wait for the end of the job; exit 0 done, 4 done with rejects
#                     or dead letters, 1 failed, 2 bad usage, 3 no fleet there
#   --via HOW         http: the HTTP API of a coordinator, with curl; dray: bin/dray
#                     of this clone, or in the PATH; nats: a message, with the NATS
#                     command line; compose: dray in the coordinator's container
#
# Which fleet, and how, where --via does not say it:
#
#   DRAY_HTTP_URL set            http. DRAY_HTTP_TOKEN_FILE or DRAY_HTTP_TOKEN has the
#                                token, DRAY_HTTP_CA_FILE the authority of its TLS
#   DRAY_NATS_URL (NATS_URL) set dray, or nats where that is missing, with
#                                DRAY_NATS_CREDS, DRAY_NATS_NKEY, DRAY_NATS_CA,
#                                DRAY_NATS_INBOX_PREFIX
#   neither                      the fleet of docker-compose.yml: compose
#
# --dir is the folder of FILE unless given. The fleet of docker-compose.yml sees
# the folder pipelines/ (or DRAY_PIPELINES) as /pipelines: there --dir is the
# folder of FILE under that name, or /pipelines for a FILE elsewhere.
#
# The name of the job is printed on standard output (with --wait: on standard
# error). docs/jobs.md has the request and the message, and examples for cron,
# systemd, CI and the like.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)

help() { sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p;}' "$0"; }
bad() {
	echo "publish-job: $*" >&2
	echo "  hint: scripts/publish-job.sh --help" >&2
	exit 2
}
missing() {
	echo "publish-job: $*" >&2
	exit 3
}

file='' key='' dir='' wait='' via=''
params='' # one name=value a line would break on newlines: quoted shell words instead
quote() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }
param() {
	case $1 in
	=* | '') bad "--set $1: write name=value" ;;
	*=*) params="$params --set $(quote "$1")" ;;
	*) bad "--set $1: write name=value" ;;
	esac
}
while [ $# -gt 0 ]; do
	option=$1
	case $option in
	--set | --key | --dir | --via)
		[ $# -ge 2 ] || bad "$option needs a value"
		value=$2
		shift 2
		;;
	--set=* | --key=* | --dir=* | --via=*)
		value=${option#*=} option=${option%%=*}
		shift
		;;
	--wait | -w)
		wait=--wait
		shift
		continue
		;;
	--help | -h)
		help
		exit 0
		;;
	-*) bad "unknown option $option" ;;
	*)
		[ -z "$file" ] || bad "one file at a time: $file and $option"
		file=$option
		shift
		continue
		;;
	esac
	[ -n "$value" ] || bad "$option needs a value"
	case $option in
	--set) param "$value" ;;
	--key) key=$value ;;
	--dir) dir=$value ;;
	--via) via=$value ;;
	esac
done
[ -n "$file" ] || bad "name a pipeline file, such as pipelines/flights.yaml"
[ -f "$file" ] || bad "$file: there is no such file"
[ -r "$file" ] || bad "$file can not be read"
folder=$(cd "$(dirname "$file")" && pwd -P)

# ---- which fleet
http=${DRAY_HTTP_URL:-}
url=${DRAY_NATS_URL:-${NATS_URL:-}}
pipelines=${DRAY_PIPELINES:-pipelines}
pipelines=$(cd "$root" && cd "$pipelines" 2>/dev/null && pwd -P) || pipelines=$root/pipelines
inside='' # the folder of FILE as the containers see it
case $folder/ in
"$pipelines"/*) inside=/pipelines${folder#"$pipelines"} ;;
esac

# ---- how
dray=${DRAY:-}
if [ -z "$dray" ]; then
	if [ -x "$root/bin/dray" ]; then
		dray=$root/bin/dray
	else
		dray=$(command -v dray || true)
	fi
fi
has() { command -v "$1" >/dev/null 2>&1; }
compose() { docker compose --project-directory "$root" "$@"; }
if [ -z "$via" ]; then
	if [ -n "$http" ]; then
		via=http
	elif [ -n "$url" ]; then
		via=nats
		[ -z "$dray" ] || via=dray
	else
		via=compose
	fi
fi
case $via in
http) here=$http ;;
dray | nats) here=$url ;;
compose) here='' ;;
*) bad "--via $via: it is http, dray, nats or compose" ;;
esac
if [ -z "$dir" ]; then
	if [ -n "$here" ]; then
		dir=$folder
	else
		dir=${inside:-/pipelines}
	fi
fi
http=${http:-http://127.0.0.1:${DRAY_HTTP_PORT:-8390}}
http=${http%/}

# ---- dray, and dray in the coordinator's container

# The words of a dray submit without its file.
eval "set -- $params"
set -- "$@" --dir "$dir"
[ -z "$key" ] || set -- "$@" --key "$key"
[ -z "$wait" ] || set -- "$@" --wait

via_dray() {
	[ -n "$dray" ] || missing "dray is not here: run make build"
	[ -n "$url" ] || missing "DRAY_NATS_URL is not set: name the fleet's NATS"
	DRAY_NATS_URL=$url exec "$dray" submit "$file" "$@"
}

via_compose() {
	has docker || missing "docker is not here; set DRAY_HTTP_URL or DRAY_NATS_URL for a fleet elsewhere"
	running=$(compose ps --status running --services 2>&1) || missing "docker compose can not be asked: $running"
	case "
$running
" in
	*"
coordinator
"*) ;;
	*) missing "no coordinator is running: docker compose up -d" ;;
	esac
	if [ -n "$inside" ]; then
		compose exec -T coordinator dray submit "$inside/$(basename "$file")" "$@" </dev/null
	else # the containers do not see the file
		compose exec -T coordinator dray submit /dev/stdin "$@" <"$file"
	fi
}

# ---- JSON

# json writes its standard input as a JSON string.
json() {
	LC_ALL=C awk '
		BEGIN { printf "\"" }
		NR > 1 { printf "\\n" }
		{ gsub(/[\\"]/, "\\\\&"); gsub(/\t/, "\\t"); gsub(/\r/, "\\r"); printf "%s", $0 }
		END { printf "\"" }'
}
text() { printf '%s\n' "$1" | json; }

# submission writes the JSON object; its argument is what names the job.
submission() {
	# What JSON would need \u00XX for has no business in a pipeline.
	if LC_ALL=C tr -d '\t\r\n' <"$file" | LC_ALL=C grep -q '[[:cntrl:]]'; then
		bad "$file holds control characters: it is not a text file"
	fi
	names=$1
	eval "set -- $params"
	list=''
	for word in "$@"; do
		[ "$word" = --set ] || list="$list${list:+,}$(text "${word%%=*}"):$(text "${word#*=}")"
	done
	printf '{%s"pipeline":%s,"file":%s,"dir":%s,"params":{%s}}' \
		"$names" "$(json <"$file")" "$(text "$(basename "$file")")" "$(text "$dir")" "$list"
}

# value KEY reads JSON and writes the first value of the key that is a string. A
# key within a string has its quotes escaped, so it can not be taken for one.
value() {
	awk -v key="\"$1\"[ ]*:[ ]*\"" '
		{ all = all $0 " " }
		END {
			if (!match(all, key)) exit
			all = substr(all, RSTART + RLENGTH)
			for (i = 1; (c = substr(all, i, 1)) != "" && c != "\""; i++) {
				if (c == "\\") {
					c = substr(all, ++i, 1)
					if (c == "n") c = "\n"
					else if (c == "t") c = "\t"
				}
				printf "%s", c
			}
		}'
}

# ended STATE ERROR: exits as dray run does when the state is one of an end.
ended() {
	case $1 in
	DONE) exit 0 ;;
	DONE_WITH_REJECTS)
		echo "publish-job: $job is done, with rejects or dead letters" >&2
		exit 4
		;;
	FAILED | CANCELLED)
		echo "publish-job: $job did not succeed: $1${2:+: $2}" >&2
		exit 1
		;;
	esac
}
published() {
	if [ -n "$wait" ]; then echo "submitted $job" >&2; else echo "$job"; fi
}

# ---- the HTTP API

# Secrets are in files that only this user reads, never in an argument.
scratch=''
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# call METHOD PATH [FILE]: the answer's status in $status, its body in $answer.
call() {
	set -- "$1" "$http$2" "${3:-}"
	: >"$scratch/answer"
	status=$(curl --silent --show-error --config "$scratch/curl" --request "$1" \
		${3:+--header 'Content-Type: application/json' --data-binary "@$3"} \
		--max-time 90 --output "$scratch/answer" --write-out '%{http_code}' "$2" 2>"$scratch/error") || status=000
	answer=$(cat "$scratch/answer")
}
# refused WHAT: says why a call was, and exits.
refused() {
	detail=$(printf '%s' "$answer" | value detail)
	hint=$(printf '%s' "$answer" | value hint)
	[ -z "$hint" ] || hint="
  hint: $hint"
	case $status in
	000) missing "$http does not answer: $(cat "$scratch/error")" ;;
	401 | 403) missing "$http refuses: ${detail:-status $status}; set DRAY_HTTP_TOKEN_FILE to the file of a token that may operate" ;;
	4[0-9][0-9])
		echo "publish-job: $1: ${detail:-status $status}$hint" >&2
		exit 2
		;;
	*) missing "$1: $http answers ${detail:-status $status}$hint" ;;
	esac
}

via_http() {
	has curl || missing "curl is not here"
	umask 077
	scratch=$(mktemp -d "${TMPDIR:-/tmp}/publish-job.XXXXXX")
	token=${DRAY_HTTP_TOKEN:-}
	if [ -n "${DRAY_HTTP_TOKEN_FILE:-}" ]; then
		token=$(head -n 1 "$DRAY_HTTP_TOKEN_FILE") || bad "DRAY_HTTP_TOKEN_FILE=$DRAY_HTTP_TOKEN_FILE can not be read"
	fi
	{
		[ -z "$token" ] || printf 'header = "Authorization: Bearer %s"\n' "$token"
		[ -z "${DRAY_HTTP_CA_FILE:-}" ] || printf 'cacert = "%s"\n' "$DRAY_HTTP_CA_FILE"
	} >"$scratch/curl"
	submission "${key:+\"key\":$(text "$key"),}" >"$scratch/submission"

	# With a key it can be asked again when the answer was lost, or the
	# coordinator was away: the same key is the same job.
	tries=0
	while :; do
		call POST /api/v1/jobs "$scratch/submission"
		case $status in
		20[0-9]) break ;;
		000 | 429 | 50[234]) tries=$((tries + 1)) ;;
		*) refused "the job was refused" ;;
		esac
		{ [ -n "$key" ] && [ $tries -lt 5 ]; } || refused "the job was not taken"
		sleep $tries
	done
	job=$(printf '%s' "$answer" | value job)
	[ -n "$job" ] || missing "$http does not answer as a coordinator of Drayage: $(printf '%s' "$answer" | head -c 200)"
	published
	[ -n "$wait" ] || return 0
	away=0
	while :; do
		call GET "/api/v1/jobs/$job?wait=60s"
		case $status in
		200)
			away=0
			ended "$(printf '%s' "$answer" | value state)" "$(printf '%s' "$answer" | value error)"
			;;
		000 | 429 | 50[0-9]) # a coordinator that is started again, say
			away=$((away + 1))
			[ $away -lt 60 ] || refused "the job goes on, but"
			sleep 2
			;;
		*) refused "$job can not be looked at" ;;
		esac
	done
}

# ---- a message of NATS

via_nats() {
	has nats || missing "nats, the NATS command line, is not here"
	[ -n "$url" ] || missing "DRAY_NATS_URL is not set: name the fleet's NATS"
	name=$(sed -n "s/^pipeline:[[:space:]]*[\"']\{0,1\}\([A-Za-z0-9_-]*\).*/\1/p" "$file" | head -n 1)
	[ -n "$name" ] || bad "$file does not say its name (pipeline: …)"
	if [ -n "$key" ]; then
		job=$name-$(printf '%s' "$key" | LC_ALL=C sed 's/[^A-Za-z0-9_-][^A-Za-z0-9_-]*/-/g' | tr '[:upper:]' '[:lower:]')
	else
		job=$name-$(date -u +%Y%m%d-%H%M%S)-$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')
	fi
	[ ${#job} -le 128 ] || bad "--key makes the name $job, which is longer than 128 characters"
	message=$(submission "\"job\":$(text "$job"),")
	# As an argument, since nats 0.3 reads standard input only where its output is
	# a terminal; Linux takes 128 KiB in one.
	[ "$(printf '%s' "$message" | LC_ALL=C wc -c)" -lt 131072 ] || bad "$file is too long for a message by nats: use --via http or dray"

	set -- --server "$url"
	[ -z "${DRAY_NATS_CREDS:-}" ] || set -- "$@" --creds "$DRAY_NATS_CREDS"
	[ -z "${DRAY_NATS_NKEY:-}" ] || set -- "$@" --nkey "$DRAY_NATS_NKEY"
	[ -z "${DRAY_NATS_CA:-}" ] || set -- "$@" --tlsca "$DRAY_NATS_CA"
	[ -z "${DRAY_NATS_INBOX_PREFIX:-}" ] || set -- "$@" --inbox-prefix "$DRAY_NATS_INBOX_PREFIX"
	answer=$(nats "$@" request --raw --no-templates --timeout 10s dray.jobs.submit "$message" 2>&1) ||
		missing "NATS at $url did not take it: $answer"
	case $answer in
	*'"error"'*) missing "NATS refused it: $answer" ;;
	*'"seq"'*) ;;
	*) missing "nothing stores jobs at $url; is a coordinator running? NATS said: ${answer:-nothing}" ;;
	esac
	published
	[ -n "$wait" ] || return 0
	away=0
	while :; do
		if record=$(nats "$@" kv get dray_jobs "$job" --raw 2>&1); then
			away=0
			# Before its state is the submission, whose params may have any name.
			record="\"state\":${record#*\},\"state\":}"
			ended "$(printf '%s' "$record" | value state)" "$(printf '%s' "$record" | value error)"
		else
			away=$((away + 1))
			case $record in
			*'key not found'*) # no coordinator has taken it yet, and it may be hours until one comes
				[ $away -ne 30 ] || echo "publish-job: no coordinator has taken $job in after a minute; still waiting. If one runs, its log says why" >&2
				;;
			*) [ $away -lt 60 ] || missing "the job goes on, but $url does not tell of it: $record" ;;
			esac
		fi
		sleep 2
	done
}

case $via in
http) via_http ;;
dray) via_dray "$@" ;;
nats) via_nats ;;
compose) via_compose "$@" ;;
esac
