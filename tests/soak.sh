#!/usr/bin/env bash
# Waiting engines of 50 scopes under random faults: tests/soak.sh [minutes] (30). FROSTY_BIN: the binary, else the release
# build is made and taken. SOAK_SEED: the same faults again.
set -euo pipefail
cd "$(dirname "$0")/.."
for need in redis-server python3; do
  command -v "$need" >/dev/null || { echo "tests/soak.sh: expected $need, found none; ./tests/run.sh installs what the tests need" >&2; exit 1; }
done
if [ -z "${FROSTY_BIN:-}" ]; then
  [ -x "${HOME:-/root}/.cargo/bin/cargo" ] && PATH=$HOME/.cargo/bin:$PATH
  cargo build --release --locked --quiet --bin frosty
  FROSTY_BIN=$PWD/target/release/frosty
fi
export FROSTY_BIN
exec python3 -B tests/soak/main.py "${1:-30}"
