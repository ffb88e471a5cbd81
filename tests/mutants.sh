#!/usr/bin/env bash
# Mutates the policy, the commit path of the stores and the hook's answer, one change at a time, and runs the tests that must notice
# each. It takes hours: `--shard 0/20` is a part. Survivors are in target/mutants.out.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo mutants --version >/dev/null 2>&1; then
  echo "tests/mutants.sh: expected cargo-mutants; get it: cargo install cargo-mutants --locked" >&2
  exit 1
fi
exec cargo mutants --output target "$@"
