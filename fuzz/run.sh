#!/usr/bin/env bash
# The fuzzers, on the stable toolchain: docs/fuzzing.md.
#   fuzz/run.sh [executions]   the long run: so many over all targets together (default 10,000,000)
#   fuzz/run.sh --short        what the test command runs: every regression and corpus again, then a few thousand new inputs
#   fuzz/run.sh --keep         after a long run: adds what it found worth keeping to fuzz/corpus
set -euo pipefail
cd "$(dirname "$0")/.."
export HOME="${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}"
[ -x "$HOME/.cargo/bin/cargo" ] && PATH=$HOME/.cargo/bin:$PATH

targets=(payload config directive replies state cli text)
total=10000000
short_runs=30000
mode=long
case "${1:-}" in
  --short) mode=short ;;
  --keep) mode=keep ;;
  "") ;;
  *[!0-9]*)
    echo "fuzz/run.sh: expected a number of executions, --short or --keep, found: $1; see: head -6 fuzz/run.sh" >&2
    exit 64
    ;;
  *) total=$1 ;;
esac

# ---- build --------------------------------------------------------------------------------------------------------
if ! command -v c++ >/dev/null; then
  echo "installing: g++ (libFuzzer is C++)" >&2
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq --no-install-recommends g++ >/dev/null
fi
host=$(rustc -vV | sed -n 's/^host: //p')
flags=(-Cpasses=sancov-module --cfg fuzzing)
for pass in level=4 inline-8bit-counters pc-table trace-compares; do
  flags+=("-Cllvm-args=-sanitizer-coverage-$pass")
done
# The short run builds longer than it runs.
if [ $mode = short ]; then export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=false; fi
# With --target the flags are not those of build scripts and macros.
started=$SECONDS
RUSTFLAGS="${flags[*]}" cargo build --locked --release --quiet --manifest-path fuzz/Cargo.toml --target "$host" --target-dir fuzz/target
echo "fuzzers built in $((SECONDS - started)) s"
bin=fuzz/target/$host/release/frosty-fuzz

# ---- run ----------------------------------------------------------------------------------------------------------
# Longer inputs say little more and cost much. One that takes 10 s, or memory past any payload's, is a find too.
limits=(-max_len=2048 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=256 -print_final_stats=1)

# Inputs that stand in the project; those that are not there are left out.
seeds() {
  local folder
  for folder in "fuzz/corpus/$1" "fuzz/regressions/$1"; do
    if [ -d "$folder" ]; then echo "$folder"; fi
  done
  case "$1" in payload | directive) echo fixtures/hook ;; esac
}

# fuzz <target> <folder> <options...>: its log is fuzz/target/<target>.log, new inputs go to the folder.
fuzz() {
  local target=$1 found=$2/$1 words=()
  shift 2
  mkdir -p "$found" "fuzz/crashes/$target"
  if [ -f "fuzz/dict/$target" ]; then words=("-dict=fuzz/dict/$target"); fi
  # shellcheck disable=SC2046
  FUZZ_TARGET=$target "$bin" "${limits[@]}" "${words[@]}" "-artifact_prefix=fuzz/crashes/$target/" "$@" \
    "$found" $(seeds "$target") >"fuzz/target/$target.log" 2>&1
}

executed() { sed -n 's/^stat::number_of_executed_units: *//p' "fuzz/target/$1.log" | tail -1; }

show_find() {
  grep -m1 -A6 -E 'panicked at|^==[0-9]+== ERROR' "fuzz/target/$1.log" >&2 || tail -5 "fuzz/target/$1.log" >&2
  echo "fuzz/run.sh: target $1 found this; run it again: FUZZ_TARGET=$1 $bin $(ls -t "fuzz/crashes/$1/"* 2>/dev/null | head -1)" >&2
}

passed=0 failed=0 sum=0
case $mode in
  short)
    for target in "${targets[@]}"; do
      # From the same inputs with the same seed, so that a change is what makes it fail.
      rm -rf "fuzz/target/short/$target"
      if fuzz "$target" fuzz/target/short -seed=1 "-runs=$short_runs" -max_total_time=4; then
        passed=$((passed + 1))
        echo "test fuzz_$target ... ok ($(executed "$target") executions)"
      else
        failed=$((failed + 1))
        echo "test fuzz_$target ... FAILED"
        show_find "$target"
      fi
    done
    [ "$failed" = 0 ] && result=ok || result=FAILED
    echo "test result: $result. $passed passed; $failed failed; 0 ignored"
    ;;
  long)
    each=$(((total + ${#targets[@]} - 1) / ${#targets[@]}))
    for target in "${targets[@]}"; do
      started=$SECONDS
      if fuzz "$target" fuzz/target/corpus "-runs=$each"; then verdict="no crash"; else verdict=CRASHED failed=$((failed + 1)); fi
      n=$(executed "$target")
      sum=$((sum + ${n:-0}))
      printf '%-10s %12s executions  %5d s  %s\n' "$target" "${n:-0}" $((SECONDS - started)) "$verdict"
      [ "$verdict" = "no crash" ] || show_find "$target"
    done
    printf '%-10s %12s executions, %d targets crashed\n' total "$sum" "$failed"
    ;;
  keep)
    for target in "${targets[@]}"; do
      # shellcheck disable=SC2046
      kept=fuzz/corpus/$target small=fuzz/target/small/$target
      rm -rf "$small"
      mkdir -p "$kept" "$small"
      # The fewest that reach all that is reached; of these an even choice over the sizes beside the seeds written by hand.
      FUZZ_TARGET=$target "$bin" -merge=1 -max_len=600 "$small" "fuzz/target/corpus/$target" $(seeds "$target") 2>/dev/null
      find "$kept" -type f ! -name 'seed-*' -delete
      find "$small" -type f -size -1200c -printf '%s %p\n' | sort -n | awk '{ print $2 }' >"$small.list"
      awk -v n="$(wc -l <"$small.list")" -v most=16 'BEGIN { step = n > most ? n / most : 1; next_one = 1 }
        NR >= next_one { print; next_one += step }' "$small.list" | xargs -r cp -t "$kept"
      echo "$target: $(find "$kept" -type f | wc -l) inputs kept"
    done
    ;;
esac
[ "$failed" = 0 ]
