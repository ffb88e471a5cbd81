#!/bin/sh
# Renews docs/profiles.svg: a day of each ready profile, simulated with the policy itself.
set -eu
cd "$(dirname "$0")/.."
FROSTY_PICTURE=1 cargo test --quiet --test it -- cadence_week:: --nocapture
