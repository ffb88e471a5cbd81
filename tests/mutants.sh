#!/usr/bin/env bash
# Changes the program in one place after the other, and runs the tests that must detect each change. `--shard 0/8` is a part.
#
#   tests/mutants.sh [OPTIONS]                             the policy: 4 s of CPU each
#   tests/mutants.sh --whole --file src/hook/reply.rs ...  any other file, in the whole crate: 9 s each
#
# The policy imports nothing else of the product, so it is built as a package of its own, with the tests of the rules. A mutant
# that no test detects is judged once more, with more histories. `.cargo/mutants.toml` leaves out what does no harm. The survivors
# are in target/mutants/*/mutants.out/missed.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo mutants --version >/dev/null 2>&1; then
  echo "tests/mutants.sh: expected cargo-mutants; get it: cargo install cargo-mutants --locked" >&2
  exit 1
fi
# A failure is not shrunk, and each run draws the same cases.
export PROPTEST_MAX_SHRINK_ITERS=0 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1 PROPTEST_RNG_SEED=1 RUST_BACKTRACE=0
mutate() {
  local sharding=()
  [[ " $* " != *" --shard "* ]] || sharding=(--sharding round-robin)
  cargo mutants --in-place --no-shuffle "${sharding[@]}" "$@"
}

# ---- the whole crate: its unit tests, and a few histories of the simulator ----------------------------------------
if [ "${1:-}" = --whole ]; then
  shift
  CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
  export CARGO_TARGET_DIR FROSTY_HISTORIES=50 FROSTY_FAILOVER_HISTORIES=40 FROSTY_FILES_HISTORIES=30
  copy=target/mutants/whole
  rm -rf "$copy/src" && mkdir -p "$copy"
  git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
  cd "$copy"
  mutate --timeout 120 -C=--config -C=profile.dev.package.frosty.opt-level=0 -C=--lib "$@" \
    -- -- --skip every_broken_variant --skip pace::simulation
  exit
fi

# ---- the policy as a package: copies, because they are changed in place -------------------------------------------
# The test modules that need nothing but src/policy.
modules=(api_limit_rules cadence_rules fleet_rules merge_properties model_properties model_rules session_rules work_rules)
package=target/mutants/policy
rm -rf "$package/src" && mkdir -p "$package/src/support" "$package/.cargo"
cp -R src/policy "$package/src/policy"
cp tests/support/steps.rs tests/mutants/twin.rs "$package/src/support/"
# As many histories as a pass says, the same each time.
sed 's/(2_000, RngSeed/(std::env::var("MUTANTS_HISTORIES").unwrap().parse().unwrap(), RngSeed/' tests/support/histories.rs \
  >"$package/src/support/histories.rs"
cp .cargo/mutants.toml "$package/.cargo/"
cp Cargo.lock "$package/"
{
  echo '#![allow(warnings)]'
  echo 'extern crate self as frosty;'
  echo 'pub mod policy;'
  echo '#[cfg(test)] mod support { pub mod histories; pub mod steps; pub mod twin; pub use steps::*; }'
  for module in "${modules[@]}"; do
    cp "tests/it/$module.rs" "$package/src/"
    echo "#[cfg(test)] mod $module;"
  done
} >"$package/src/lib.rs"
{
  printf '[package]\nname = "frosty-policy"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n[lib]\ndoctest = false\n'
  echo '[dependencies]'
  grep -E '^(serde|serde_json|thiserror) = .*[0-9]"' Cargo.toml
  echo '[dev-dependencies]'
  grep -E '^(proptest|chrono|tz-rs) = ' Cargo.toml
  printf '[profile.dev]\ndebug = false\n[profile.dev.package."*"]\nopt-level = 1\n'
} >"$package/Cargo.toml"
cd "$package"
status=0
MUTANTS_HISTORIES=50 mutate --timeout 20 "$@" -- -- --skip pace::simulation --skip a_storm_of --skip at_most_six_dreams || status=$?
# 2: there are survivors.
[ "$status" = 2 ] || exit "$status"
MUTANTS_HISTORIES=2000 mutate --timeout 120 --iterate "$@"
