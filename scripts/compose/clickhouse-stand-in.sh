#!/bin/sh
# Entry point of the stand-in that scripts/compose-smoke makes for ClickHouse
# where its image can not be pulled: the variables of the official image, for
# the engine.
set -eu
DRAY_ENGINE_USER=${CLICKHOUSE_USER:-default}
DRAY_ENGINE_PASSWORD=${CLICKHOUSE_PASSWORD:-}
if [ -n "${CLICKHOUSE_PASSWORD_FILE:-}" ]; then
	DRAY_ENGINE_PASSWORD=$(cat "$CLICKHOUSE_PASSWORD_FILE")
fi
export DRAY_ENGINE_USER DRAY_ENGINE_PASSWORD
exec dray engine --listen 0.0.0.0:8123 --path /var/lib/clickhouse/engine
