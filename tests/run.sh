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
need tmux tmux
need unshare util-linux
need ip iproute2
need openssl openssl
need python3 python3
need cc gcc
need c++ g++
need npm npm
need timeout coreutils
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

# ---- format, lints, tests -----------------------------------------------------------------------------------------
cargo fmt --check
cargo fmt --check --manifest-path fuzz/Cargo.toml
cargo clippy --all-targets --quiet -- -D warnings
if ! tests/licences.py | diff docs/licences.md -; then
  echo "tests/run.sh: docs/licences.md is out of date; renew it: tests/licences.py > docs/licences.md" >&2
  exit 1
fi
# For macOS it can only be checked here, and only where the target's standard library is.
darwin=aarch64-apple-darwin
if [ -d "$(rustc --print target-libdir --target $darwin)" ] || timeout 60 rustup target add $darwin >/dev/null 2>&1; then
  cargo check --locked --quiet --target $darwin --lib --bins
else
  echo "tests/run.sh: NOT CHECKED: that it builds for macOS; get the target: rustup target add $darwin" >&2
fi
# Building it takes longer than the tests do.
if cargo deny --version >/dev/null 2>&1; then
  cargo deny --offline check bans licenses sources
else
  echo "tests/run.sh: no cargo-deny here, so deny.toml is not checked; get it: cargo install cargo-deny --locked" >&2
fi
work=$(mktemp -d)
log=$work/log
cargo test --locked --quiet --no-run
# The build with TLS replaces both programs in target/debug: what runs beside it has a copy.
cp target/debug/frosty target/debug/frosty-hook "$work/"
tests/client/run.sh --fetch >/dev/null 2>&1 &
fetching=$!
waiting= client= fuzzing= simulating=
trap 'kill $fetching $waiting $client $fuzzing $simulating 2>/dev/null || true; rm -rf "$work"' EXIT
status=0
tests() { cargo test --locked --no-fail-fast "$@" 2>&1; }
# First the storm of processes, which keeps every core busy. Then two rows of tests beside each other: those that mostly wait,
# and the rest.
waits=(engine_terms fairness handover processes spread store_faults waiting waiting_faults waking watchdog)
others=(--lib --bins)
for file in tests/*.rs tests/*/main.rs; do
  name=$(basename "${file%/main.rs}" .rs)
  case " concurrency ${waits[*]} " in *" $name "*) ;; *) others+=(--test "$name") ;; esac
done
tests --test concurrency | tee "$log" || status=$?
wait "$fetching" || true
# With what the others leave of the cores: 30,000 histories of the fault simulator with a server.
FROSTY_HISTORIES=30000 nice -n 19 cargo test --locked --lib histories_with_a_server >"$work/histories" 2>&1 &
simulating=$!
tests "${waits[@]/#/--test=}" >"$work/waits" &
waiting=$!
tests "${others[@]}" | tee -a "$log" || status=$?
tests --doc | tee -a "$log" || status=$?
# Then the scenarios on the real client, which mostly wait too and are bound by events, not by deadlines of their own.
# FROSTY_SKIP_CLIENT=1 goes without.
FROSTY_BIN=$work/frosty tests/client/run.sh >"$work/client" 2>&1 &
client=$!
wait "$waiting" || status=$?
tee -a "$log" <"$work/waits"
# Beside them what computes: the fuzzers are built and run short (every input that was kept, and a few thousand new ones; the
# long run is fuzz/run.sh), and the same program is built with TLS in it. Its own tests alone, the rest is the same.
nice -n 19 fuzz/run.sh --short >"$work/fuzz" 2>&1 &
fuzzing=$!
tests --features tls --test tls | tee -a "$log" || status=$?
wait "$client" || status=$?
tee -a "$log" <"$work/client"
wait "$fuzzing" || status=$?
tee -a "$log" <"$work/fuzz"
wait "$simulating" || status=$?
tee -a "$log" <"$work/histories"

# ---- the count ----------------------------------------------------------------------------------------------------
count() { grep -E '^test result:' "$log" | grep -Eo "[0-9]+ $1" | awk '{ n += $1 } END { print n + 0 }'; }
passed=$(count passed)
failed=$(count failed)
skipped=$(count ignored)
# The tests that hold a real server against the model must have run: without them green says little.
for name in what_several_writers_commit_keeps_every_limit guard_on_the_server quota_on_the_server errors_of_a_real_server \
  every_captured_payload_on_both_stores auto_is_embedded_until_a_server_was_reached \
  everything_works_and_each_permission_is_needed with_tls::everything_works; do
  if ! grep -Eq "^test $name \.\.\. ok" "$log"; then
    echo "tests/run.sh: the server-backed test $name did not pass" >&2
    status=1
  fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$status" = 0 ] && [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
