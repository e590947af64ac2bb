#!/bin/sh
# Loads the two example pipelines through the whole fleet in one process, and
# shows what is in ClickHouse then.
set -eu
cd "$(dirname "$0")/.."
dray=bin/dray

# The demo begins with empty tables, so that its counts are the same each time.
$dray sql 'DROP TABLE IF EXISTS flights'
$dray sql 'DROP TABLE IF EXISTS birdstrikes'

echo '== dray run pipelines/flights.yaml'
$dray run pipelines/flights.yaml
echo
echo '== mean delay by city, the ten with most flights'
$dray sql --format PrettyCompactMonoBlock "
  SELECT city, state, count() AS flights, round(avg(delay), 1) AS mean_delay, max(delay) AS worst
  FROM flights GROUP BY city, state ORDER BY flights DESC LIMIT 10"

echo
echo '== dray run pipelines/birdstrikes.yaml'
$dray run pipelines/birdstrikes.yaml
echo
echo '== species that cost most'
$dray sql --format PrettyCompactMonoBlock "
  SELECT species, count() AS strikes, sum(cost_usd) AS cost_usd, round(avg(speed_knots)) AS mean_knots
  FROM birdstrikes WHERE species NOT LIKE 'Unknown%' GROUP BY species ORDER BY cost_usd DESC LIMIT 5"
