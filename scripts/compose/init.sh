#!/bin/sh
# The service init of docker-compose.yml: makes the secrets that are not there
# yet, each into the volumes of the services that may read it, and leaves those
# that are. A file of that name in /volumes/given (the folder DRAY_SECRETS) is
# taken in place of one that is made here. No secret is printed.
set -eu
cd /volumes
umask 077

random() { head -c 24 /dev/urandom | od -An -v -t x1 | tr -d ' \n'; }

# put FILE VOLUME NAME: a copy that is there as a whole or not at all. Only the
# containers that have the volume can read it, each as its own user.
put() {
	cmp -s "$1" "$2/$3" && return
	cp "$1" "$2/.$3"
	chmod 0444 "$2/.$3"
	mv -f "$2/.$3" "$2/$3"
}

# secret NAME VOLUME...: the same value as the file NAME in each volume.
secret() {
	name=$1
	shift
	from=''
	for folder in given "$@"; do
		[ -z "$from" ] || break
		[ ! -s "$folder/$name" ] || from=$folder
	done
	case $from in
	given) origin='taken from the folder of secrets' ;;
	'') origin='made' ;;
	*) origin='there already' ;;
	esac
	if [ -n "$from" ]; then cp "$from/$name" /tmp/secret; else random >/tmp/secret; fi
	for volume in "$@"; do put /tmp/secret "$volume" "$name"; done
	rm -f /tmp/secret
	echo "init: $name: $origin"
}

secret clickhouse-password clickhouse coordinator worker operator
secret grafana-password grafana

# The HTTP API: a token for each role, or those of a file that is given.
secret http-session-key coordinator
if [ -s given/http-tokens ]; then
	secret http-tokens coordinator
else
	for role in read operate admin; do
		secret "http-token-$role" coordinator operator
		printf '%s:compose-%s:%s\n' "$role" "$role" "$(cat "coordinator/http-token-$role")" >>/tmp/tokens
	done
	put /tmp/tokens coordinator http-tokens
	rm /tmp/tokens
fi

# NATS: an authority for TLS, a key for each role, and what the server lets each
# do. With every start the certificate and the permissions are those of this dray.
set -- --host nats --host localhost --host 127.0.0.1
for host in ${DRAY_NATS_HOSTS:-}; do set -- "$@" --host "$host"; done
if [ -s authority/nats/authority/state.json ]; then
	dray nats-auth authority/nats --renew "$@" >/dev/null
	echo "init: keys of NATS: there already"
else
	dray nats-auth authority/nats --server-dir /etc/nats/secrets "$@" >/dev/null
	echo "init: keys of NATS: made"
fi
for file in nats-auth.conf server.pem server.key; do put authority/nats/$file nats $file; done
for role in coordinator worker operator; do
	put authority/nats/ca.pem $role nats-ca.pem
	put authority/nats/$role.nk $role nats.nk
done
# Its inboxes are its own, and the NATS command line has to be told which they are.
sed -n '/DRAY_OPERATOR {/,/nkey/s/.*nkey: \([A-Z0-9]*\).*/_INBOX_\1/p' authority/nats/nats-auth.conf >/tmp/prefix
put /tmp/prefix operator nats-inbox-prefix
