#!/usr/bin/env bash
# The whole test command: installs what the tests need by package name, then runs everything.
set -euo pipefail
cd "$(dirname "$0")/.."
export HOME="${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}"
[ -x "$HOME/.cargo/bin/cargo" ] && PATH=$HOME/.cargo/bin:$PATH

# ---- what the tests need ------------------------------------------------------------------------------------------
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
need redis-server redis-server
need redis-cli redis-tools
need strace strace
need nats-server nats-server
need tmux tmux
need unshare util-linux
need ip iproute2
need openssl openssl
need python3 python3
need cc gcc
need c++ g++
need npm npm
need timeout coreutils
need script bsdutils
need patch patch
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing: ${missing[*]}" >&2
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -qq
  # Debian's redis-server starts a server of its own; the tests start theirs on ports of their own.
  $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
  echo "tests/run.sh: expected cargo with rustfmt and clippy; get Rust from https://rustup.rs, then: rustup component add rustfmt clippy" >&2
  exit 1
fi

# ---- format, licences, builds -------------------------------------------------------------------------------------
# A cold build without what the next one would reuse costs a sixth less.
[ -d target/debug/incremental ] || export CARGO_INCREMENTAL=0
cargo fmt --check
cargo fmt --check --manifest-path fuzz/Cargo.toml
if ! tests/licences.py | diff docs/licences.md -; then
  echo "tests/run.sh: docs/licences.md is out of date; renew it: tests/licences.py > docs/licences.md" >&2
  exit 1
fi
# For macOS it can only be checked here, and only where the target's standard library is.
darwin=aarch64-apple-darwin
if [ ! -d "$(rustc --print target-libdir --target $darwin)" ] && ! timeout 60 rustup target add $darwin >/dev/null 2>&1; then
  echo "tests/run.sh: NOT CHECKED: that it builds for macOS; get the target: rustup target add $darwin" >&2
  darwin=
fi
# Building it takes longer than the tests do.
if cargo deny --version >/dev/null 2>&1; then
  cargo deny --offline check bans licenses sources
else
  echo "tests/run.sh: no cargo-deny here, so deny.toml is not checked; get it: cargo install cargo-deny --locked" >&2
fi
if ! cargo nextest --version >/dev/null 2>&1; then
  echo "installing: cargo-nextest" >&2
  cargo install --quiet --locked cargo-nextest
fi
work=$(mktemp -d)
log=$work/log
cargo nextest run --locked --cargo-quiet --no-run
# The build with TLS replaces both programs in target/debug: what runs beside it has a copy.
cp target/debug/frosty target/debug/frosty-hook "$work/"

# ---- what runs beside the tests -----------------------------------------------------------------------------------
# No test measures the program with TLS, so that it is built without optimisation. Its dependencies are the others' too.
tls=(--locked --features tls --config profile.dev.package.frosty.opt-level=0)
# Most tests wait. The checks take what the tests leave of the cores. They are one after the other, because a target
# directory has one lock; the first waits until nextest has released it.
checks() {
  local failed=0
  until [ "$(grep -cE '^ *Starting ' "$work/nextest")" -ge 2 ] || [ -e "$work/tested" ]; do sleep 0.2; done
  cargo clippy --locked --all-targets --quiet -- -D warnings || failed=1
  [ -z "$darwin" ] || cargo check --locked --quiet --target $darwin --lib --bins || failed=1
  cargo build --quiet "${tls[@]}" --lib || failed=1
  # 20,000 histories of the fault simulator with a server.
  FROSTY_HISTORIES=20000 cargo test --locked --lib histories_with_a_server >"$work/histories" 2>&1 || failed=1
  return $failed
}
client= fuzzing= checking= fetching=
trap 'kill $fetching $client $fuzzing $checking 2>/dev/null || true; rm -rf "$work"' EXIT

# ---- the tests ----------------------------------------------------------------------------------------------------
status=0
# `.config/nextest.toml` has the schedule.
run() { cargo nextest run --locked --cargo-quiet --no-fail-fast -E "$1" 2>&1 | tee -a "$work/nextest" || status=$?; }
# The storms of processes, and what measures how long a session or a writer waits: nothing of this command runs beside them.
measured='test(/^concurrency::|^fairness::|^a_hundred_|^eight_at_once$|^the_breaker$|what_several_writers_commit/)'
run "$measured"
tests/client/run.sh --fetch >/dev/null 2>&1 &
fetching=$!
(renice -n 19 "$BASHPID" >/dev/null && checks) &
checking=$!
# The fuzzers are built and run short: every input that was kept, and a few thousand new ones; the long run is fuzz/run.sh.
nice -n 19 fuzz/run.sh --short >"$work/fuzz" 2>&1 &
fuzzing=$!
run "not ($measured)"
touch "$work/tested"
wait "$fetching" || true
# The scenarios on the real client mostly wait, and are bound by events, not by deadlines of their own. FROSTY_SKIP_CLIENT=1 goes
# without. Beside them what is left of the checks, then the tests of TLS, the only ones that another build changes.
FROSTY_BIN=$work/frosty tests/client/run.sh >"$work/client" 2>&1 &
client=$!
wait "$checking" || { echo "tests/run.sh: clippy, the check for macOS, the build with TLS or the histories failed" >&2; status=1; }
cargo test --locked --doc 2>&1 | tee "$log" || status=$?
cargo test "${tls[@]}" --test tls 2>&1 | tee -a "$log" || status=$?
wait "$client" || status=$?
tee -a "$log" <"$work/client"
wait "$fuzzing" || status=$?
tee -a "$log" <"$work/fuzz"
if [ -e "$work/histories" ]; then tee -a "$log" <"$work/histories"; fi

# ---- the count ----------------------------------------------------------------------------------------------------
# `Summary [ 1.234s] 670 tests run: 668 passed (1 slow), 2 failed, 0 skipped`, and libtest's lines of the rest.
count() {
  { grep -E '^test result:' "$log" | grep -Eo "[0-9]+ $1" || true
    grep -E '^ *Summary ' "$work/nextest" | grep -Eo "[0-9]+ $2" || true; } | awk '{ n += $1 } END { print n + 0 }'
}
passed=$(count passed passed)
failed=$(count failed '(failed|timed out)')
# What the second run leaves out is what the first has run, and what is ignored.
summary() { grep -E '^ *Summary ' "$work/nextest" | sed -n "$1s/.* \([0-9]*\)$2.*/\1/p" || true; }
first=$(summary 1 ' tests run') left_out=$(summary 2 ' skipped')
skipped=$(($(count ignored none) + ${left_out:-0} - ${first:-0}))
echo "$passed passed, $failed failed, $skipped skipped"
[ "$status" = 0 ] && [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
