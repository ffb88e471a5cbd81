#!/bin/bash
# The Stop hook that Frosty replaces, from its description: a guard, a bang window and a cooldown, each as a
# separate process, and a curl for the journal. It launched another `claude -c -p …` at the end, which is left
# out here.
PORT=$1
# A new window each time, so that every run takes the path of one that continues.
WINDOW=$(tmux display-message -p '#S:#W' 2>/dev/null || echo none)-$RANDOM$RANDOM
NOW=$(date +%s)
cat >/dev/null
if [ -n "$(redis-cli -p "$PORT" GET "nova:cooldown:$WINDOW")" ]; then
  STATUS=COOLDOWN
elif [ "$(redis-cli -p "$PORT" SET "nova:guard:$WINDOW" 1 NX EX 15)" != OK ]; then
  STATUS=STANDING_DOWN
else
  redis-cli -p "$PORT" ZADD "nova:bang:$WINDOW" "$NOW" "$NOW-$RANDOM" >/dev/null
  redis-cli -p "$PORT" ZREMRANGEBYSCORE "nova:bang:$WINDOW" -inf $((NOW - 20)) >/dev/null
  if [ "$(redis-cli -p "$PORT" ZCARD "nova:bang:$WINDOW")" -ge 3 ]; then
    redis-cli -p "$PORT" SET "nova:cooldown:$WINDOW" 1 EX 60 >/dev/null
    STATUS=COOLDOWN
  else
    STATUS=RESTARTING
  fi
fi
curl -s -X POST "http://localhost:$PORT/xadd/torch.continuous.ops" \
  -d "{\"timestamp\":\"$(date +%Y%m%d_%H%M%S)\",\"window\":\"$WINDOW\",\"status\":\"$STATUS\"}" >/dev/null 2>&1
exit 2
