#!/bin/sh
# Publishes a pipeline file as a job of a Drayage fleet.
#
#   scripts/publish-job.sh FILE [--set name=value]... [--key KEY] [--dir DIR]
#                               [--wait] [--via dray|nats|compose]
#
#   --set name=value  set a parameter of the pipeline; may be repeated
#   --key KEY         the job is named PIPELINE-KEY. Publishing the same key again
#                     is not doing it again: the first job stays the only one
#   --dir DIR         folder on the workers at which relative paths in FILE start
#   --wait            wait for the end of the job; exit 0 done, 4 done with rejects
#                     or dead letters, 1 failed, 2 bad usage, 3 no fleet there
#   --via HOW         how to publish it; otherwise the first of these that is there:
#                     dray (bin/dray of this clone, or in the PATH), nats (the NATS
#                     command line), compose (dray within the coordinator's container)
#
# Which fleet: DRAY_NATS_URL (or NATS_URL) names it, and DRAY_NATS_CREDS the
# credentials; --dir is then the folder of FILE unless given. Without a URL it is
# the fleet of docker-compose.yml, whose NATS is on 127.0.0.1:${DRAY_NATS_PORT:-4222}
# and which sees the folder pipelines/ (or DRAY_PIPELINES) as /pipelines: --dir is
# then the folder of FILE under that name, or /pipelines for a FILE elsewhere.
#
# The name of the job is printed on standard output (with --wait: on standard error).

#
#   scripts/publish-job.sh pipelines/flights.yaml --wait
#   scripts/publish-job.sh nightly.yaml --set day=2026-11-22 --key 2026-11-22
#
# What is published. One message on the subject dray.jobs.submit, which a stream
# keeps until a coordinator has taken it; send it as a request, and the answer
# {"stream":"DRAY_JOBS","seq":…} says that it is stored. It is a JSON object:
#
#   job       name of the job, at most 128 of [a-z0-9_-]; the same name again is
#             the same job. Left out: the coordinator makes one
#   pipeline  the text of the pipeline file (required)
#   file      its name, for messages
#   dir       folder on the workers at which relative paths start
#   params    object of strings: values for the pipeline's params
#
# So any NATS client will do; the job's record is the value of the key named
# like the job in the bucket dray_jobs, with its "state".
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
url=${DRAY_NATS_URL:-${NATS_URL:-}}
pipelines=${DRAY_PIPELINES:-pipelines}
pipelines=$(cd "$root" && cd "$pipelines" 2>/dev/null && pwd -P) || pipelines=$root/pipelines
inside='' # the folder of FILE as the containers see it
case $folder/ in
"$pipelines"/*) inside=/pipelines${folder#"$pipelines"} ;;
esac
if [ -z "$dir" ]; then
	if [ -n "$url" ] && [ "$via" != compose ]; then
		dir=$folder
	else
		dir=${inside:-/pipelines}
	fi
fi
url=${url:-nats://127.0.0.1:${DRAY_NATS_PORT:-4222}}

# ---- how
dray=${DRAY:-}
if [ -z "$dray" ]; then
	if [ -x "$root/bin/dray" ]; then
		dray=$root/bin/dray
	else
		dray=$(command -v dray || true)
	fi
fi
compose() { docker compose --project-directory "$root" "$@"; }
if [ -z "$via" ]; then
	if [ -n "$dray" ]; then
		via=dray
	elif command -v nats >/dev/null; then
		via=nats
	elif command -v docker >/dev/null && docker compose version >/dev/null 2>&1; then
		via=compose
	else
		missing "neither dray nor nats nor docker compose is here: run make build, or install one of them"
	fi
fi

# The words of a dray submit without its file.
eval "set -- $params"
set -- "$@" --dir "$dir"
[ -z "$key" ] || set -- "$@" --key "$key"
[ -z "$wait" ] || set -- "$@" --wait

via_dray() {
	[ -n "$dray" ] || missing "dray is not here: run make build"
	DRAY_NATS_URL=$url exec "$dray" submit "$file" "$@"
}

via_compose() {
	command -v docker >/dev/null || missing "docker is not here"
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

# json writes its standard input as a JSON string.
json() {
	LC_ALL=C awk '
		BEGIN { printf "\"" }
		NR > 1 { printf "\\n" }
		{ gsub(/[\\"]/, "\\\\&"); gsub(/\t/, "\\t"); gsub(/\r/, "\\r"); printf "%s", $0 }
		END { printf "\"" }'
}
text() { printf '%s\n' "$1" | json; }

via_nats() {
	command -v nats >/dev/null || missing "nats, the NATS command line, is not here"
	# What JSON would need \u00XX for has no business in a pipeline.
	if LC_ALL=C tr -d '\t\r\n' <"$file" | LC_ALL=C grep -q '[[:cntrl:]]'; then
		bad "$file holds control characters: it is not a text file"
	fi
	name=$(sed -n "s/^pipeline:[[:space:]]*[\"']\{0,1\}\([A-Za-z0-9_-]*\).*/\1/p" "$file" | head -n 1)
	[ -n "$name" ] || bad "$file does not say its name (pipeline: …)"
	if [ -n "$key" ]; then
		job=$name-$(printf '%s' "$key" | LC_ALL=C sed 's/[^A-Za-z0-9_-][^A-Za-z0-9_-]*/-/g' | tr '[:upper:]' '[:lower:]')
	else
		job=$name-$(date -u +%Y%m%d-%H%M%S)-$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')
	fi
	[ ${#job} -le 128 ] || bad "--key makes the name $job, which is longer than 128 characters"

	list='' set_next=''
	for word in "$@"; do
		if [ -n "$set_next" ]; then
			list="$list${list:+,}$(text "${word%%=*}"):$(text "${word#*=}")"
		fi
		set_next=''
		[ "$word" != --set ] || set_next=yes
	done
	message="{\"job\":$(text "$job"),\"pipeline\":$(json <"$file"),\"file\":$(text "$(basename "$file")"),\"dir\":$(text "$dir"),\"params\":{$list}}"

	set -- --server "$url"
	[ -z "${DRAY_NATS_CREDS:-}" ] || set -- "$@" --creds "$DRAY_NATS_CREDS"
	answer=$(printf '%s' "$message" | nats "$@" request --raw --no-templates --timeout 10s dray.jobs.submit 2>&1) ||
		missing "NATS at $url did not take it: $answer"
	case $answer in
	*'"error"'*) missing "NATS refused it: $answer" ;;
	*'"seq"'*) ;;
	*) missing "nothing stores jobs at $url; is a coordinator running? NATS said: ${answer:-nothing}" ;;
	esac
	echo "$job"
	[ -n "$wait" ] || return 0
	while :; do
		# The pipeline's text within the record has its quotes escaped, so it can
		# not be taken for the state.
		record=$(nats "$@" kv get dray_jobs "$job" --raw 2>/dev/null) || record=''
		case $record in
		*'"state":"DONE"'*) return 0 ;;
		*'"state":"DONE_WITH_REJECTS"'*)
			echo "publish-job: $job is done, with rejects or dead letters" >&2
			return 4
			;;
		*'"state":"FAILED"'* | *'"state":"CANCELLED"'*)
			echo "publish-job: $job did not succeed: $(printf '%s' "$record" | sed -n 's/.*"state":"\([A-Z]*\)","error":"\(\([^"\\]\|\\.\)*\)".*/\1: \2/p')" >&2
			return 1
			;;
		esac
		sleep 2
	done
}

case $via in
dray) via_dray "$@" ;;
nats) via_nats "$@" ;;
compose) via_compose "$@" ;;
*) bad "--via $via: it is dray, nats or compose" ;;
esac
