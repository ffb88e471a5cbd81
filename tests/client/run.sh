#!/usr/bin/env bash
# The tests on the real client, against a scripted API on loopback:
#   run.sh [--client VERSION] [--long] [--only NAME] [--jobs N]
#   run.sh [--client VERSION] --fetch     fetches the client and runs nothing
# VERSION is a number such as 2.1.331, or `newest`, which asks npm [default: the pinned version].
# FROSTY_BIN: the binary to test, else it is built. FROSTY_SKIP_CLIENT=1: skip them all.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
package=@anthropic-ai/claude-code-linux-x64
version=2.1.332 # the pinned version

rest=() fetch=
while [ $# -gt 0 ]; do
  case $1 in
    --client)
      [ -n "${2:-}" ] || { echo "tests/client: --client needs a version, such as $version, or newest" >&2; exit 64; }
      version=$2
      shift
      ;;
    --client=*) version=${1#*=} ;;
    --fetch) fetch=1 ;;
    *) rest+=("$1") ;;
  esac
  shift
done
set -- ${rest[@]+"${rest[@]}"}

if [ "${FROSTY_SKIP_CLIENT:-}" = 1 ]; then
  echo "tests/client: SKIPPED, nothing was tested on the real client (FROSTY_SKIP_CLIENT=1)"
  exit 0
fi

give_up() {
  echo "tests/client: CANNOT RUN: $1" >&2
  echo "tests/client: to go without these tests, say FROSTY_SKIP_CLIENT=1" >&2
  exit 1
}

need() { command -v "$1" >/dev/null || give_up "'$1' is missing: apt-get install $2"; }
need npm npm
need tmux tmux
need ip iproute2
need unshare util-linux
need redis-server redis-server
need redis-cli redis-tools
need python3 python3
need timeout coreutils

[ "$(uname -sm)" = "Linux x86_64" ] || give_up "the pinned client is for Linux x86_64, this is $(uname -sm)"

# ---- the client, once ---------------------------------------------------------------------------------------------
if [ "$version" = newest ]; then
  version=$(timeout 60 npm view "$package" version) || give_up "npm could not name the newest version of $package"
fi
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || give_up "'$version' is not a version such as 2.1.331, nor newest"
client=$root/target/client/$version/package/claude
if [ ! -x "$client" ]; then
  mkdir -p "$root/target/client"
  fresh=$(mktemp -d "$root/target/client/.fresh-XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  echo "tests/client: fetching $package@$version" >&2
  (cd "$fresh" && timeout 900 npm pack --silent "$package@$version" >/dev/null) || give_up "npm could not get $package@$version"
  tar -xzf "$fresh"/*.tgz -C "$fresh" || give_up "the package of $package@$version is damaged"
  rm -f "$fresh"/*.tgz
  [ -f "$fresh/package/claude" ] || give_up "$package@$version holds no package/claude"
  chmod +x "$fresh/package/claude"
  # Renamed when whole; where another run was faster, its copy is as good.
  mv -T "$fresh" "$root/target/client/$version" 2>/dev/null || [ -x "$client" ] || give_up "$client could not be put in place"
fi

if [ -n "$fetch" ]; then exit 0; fi

# ---- the binary under test ----------------------------------------------------------------------------------------
if [ -z "${FROSTY_BIN:-}" ]; then
  (cd "$root" && cargo build --locked --bins --quiet)
  FROSTY_BIN=$root/target/debug/frosty
fi
FROSTY_BIN=$(realpath "$FROSTY_BIN")
[ -x "$(dirname "$FROSTY_BIN")/frosty-hook" ] || { echo "tests/client: no frosty-hook beside $FROSTY_BIN" >&2; exit 1; }
[ -x "$FROSTY_BIN" ] || { echo "tests/client: $FROSTY_BIN is no program" >&2; exit 1; }

# ---- a network of its own, with nothing but loopback ----------------------------------------------------------------
apart=(unshare -n)
[ "$(id -u)" = 0 ] || apart=(unshare -rn)
"${apart[@]}" true 2>/dev/null || give_up "'${apart[*]}' is not allowed here"
echo "tests/client: client $version"
export CLIENT_BIN=$client FROSTY_BIN PYTHONDONTWRITEBYTECODE=1
exec "${apart[@]}" sh -c 'ip link set lo up && exec timeout --kill-after=60 "$@"' _ "${FROSTY_CLIENT_LIMIT:-3600}" \
  python3 "$here/main.py" "$@"
