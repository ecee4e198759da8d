#!/usr/bin/env bash
# What `./dev demo` shows, on the local stack: trades in, candles out, and that they are right. Needs .stack/env and KLINED_BIN.
set -euo pipefail
cd "$(dirname "$0")/.."

CONFIG=config/demo.yaml
TOPIC=sol-trades-demo
RATE=${DEMO_RATE:-3000}
PAIRS=${DEMO_PAIRS:-200}
SECONDS_TO_SHOW=20
[[ -t 1 && -t 0 ]] && SECONDS_TO_SHOW=0  # until Ctrl-C
LOGS=.stack/log
mkdir -p "$LOGS"

pids=()
stop_all() {
  trap '' INT TERM
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
}
trap stop_all EXIT
trap 'exit 143' TERM

say() { printf '==> %s\n' "$*"; }

# A demo begins with nothing: what an earlier one left is taken away.
for topic in $TOPIC $TOPIC-dlq klines-100000-demo; do
  /usr/bin/python3 tools/delete_topic.py "$KLINED_STACK_KAFKA" "$topic"
done
mariadb --socket="$KLINED_STACK_MYSQL_ROOT_SOCKET" --user="$KLINED_STACK_MYSQL_ROOT_USER" -e 'DROP DATABASE IF EXISTS klined_demo'
redis-cli -h "$KLINED_STACK_REDIS_HOST" -p "$KLINED_STACK_REDIS_PORT" flushall >/dev/null

say "klined init: tables and topics"
"$KLINED_BIN" init -c $CONFIG --input-topics

say "klined feed: $PAIRS pairs, $RATE trades/s into $TOPIC, event time 30 times as fast as the clock's (log: $LOGS/demo-feed.log)"
"$KLINED_BIN" feed --simulate -c $CONFIG --pairs "$PAIRS" --rate "$RATE" \
  --start "$(date -u -d '6 hours ago' +%FT%TZ)" --speed 30 --spool "$LOGS/demo.spool" >"$LOGS/demo-feed.log" 2>&1 &
feed=$!
pids+=("$feed")

say "klined run (log: $LOGS/demo-run.log)"
"$KLINED_BIN" run -c $CONFIG >"$LOGS/demo-run.log" 2>&1 &
run=$!
pids+=("$run")

# Ctrl-C ends the table; the rest is ended here, in order.
if ((SECONDS_TO_SHOW == 0)); then say "klined top: Ctrl-C ends it"; else say "klined top, for $SECONDS_TO_SHOW s"; fi
trap ':' INT
"$KLINED_BIN" top -c $CONFIG --for "$SECONDS_TO_SHOW" || true
kill -0 "$run" 2>/dev/null || { tail -5 "$LOGS/demo-run.log" >&2; echo "demo: klined run has ended; see $LOGS/demo-run.log" >&2; exit 1; }

say "stopping: first the feed, then klined, which writes what it has read"
kill -TERM "$feed" 2>/dev/null || true
wait "$feed" || true
sleep 1  # what was sent last is read
kill -TERM "$run"
wait "$run" || { tail -5 "$LOGS/demo-run.log" >&2; echo "demo: klined run failed; see $LOGS/demo-run.log" >&2; exit 1; }
pids=()
tail -3 "$LOGS/demo-feed.log"

say "klined pairs: the most active ones, from MySQL"
"$KLINED_BIN" pairs -c $CONFIG --limit 3 || true

say "recomputing all candles from the topic, independently (tests/oracle), and comparing every column of every row"
/usr/bin/python3 tests/oracle/verify.py --kafka "$KLINED_STACK_KAFKA" --mysql-host "$KLINED_STACK_MYSQL_HOST" \
  --mysql-port "$KLINED_STACK_MYSQL_PORT" --mysql-user "$KLINED_STACK_MYSQL_USER" --mysql-password "$KLINED_STACK_MYSQL_PASSWORD" \
  --mysql-database klined_demo --redis "$KLINED_STACK_REDIS_HOST:$KLINED_STACK_REDIS_PORT" --topics $TOPIC \
  --intervals 1m,5m,15m,1h,4h,12h,1d --env demo --chains 100000 --dlq --klines --redis-missing-ok
