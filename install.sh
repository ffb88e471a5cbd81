#!/usr/bin/env bash
# Builds Frosty's two programs and puts them in place. No sudo; can be run again.
#
#   ./install.sh                 build, install into ~/.local/bin, with man pages and shell completions
#   ./install.sh --project DIR   … and register it in that project's settings (--local: in those that are not shared)
#   ./install.sh --user          … and register it in your own settings: only sessions that you arm
#   ./install.sh --bin-dir DIR   install into DIR instead
#   ./install.sh --try           build, and show Frosty at work in a scratch directory; installs nothing
#
# With --project, --local or --user: --plain registers the plain engine, --keep-others registers beside other engines.
set -euo pipefail
: "${HOME:?install.sh: expected HOME to be set; set it: export HOME=~}"
called_from=$PWD
# The directory of this script, after every link.
this=$(readlink -f -- "$0" 2>/dev/null || printf '%s' "$0")
CDPATH= cd -- "$(dirname -- "$this")"

bin_dir=$HOME/.local/bin
try=no
register=()
where=no
# Resolves a directory from the caller's working directory.
folder() {
  case ${2:-} in
    '' | -*) usage "$1 without a folder" ;;
    /*) printf '%s' "$2" ;;
    *) printf '%s/%s' "$called_from" "$2" ;;
  esac
}
help() { sed -n '2,10s/^# \{0,1\}//p' install.sh; }
usage() {
  help >&2
  echo "install.sh: expected --bin-dir DIR, --project DIR, --local, --user, --plain, --continuous, --keep-others or --try, found: $1; see the lines above" >&2
  exit 64
}
while [ $# -gt 0 ]; do
  case $1 in
    --bin-dir | --project | --bin-dir=* | --project=*)
      name=${1%%=*}
      case $1 in
        *=*) value=$(folder "$name" "${1#*=}") || exit 64 ;;
        *)
          value=$(folder "$name" "${2:-}") || exit 64
          shift
          ;;
      esac
      if [ "$name" = --bin-dir ]; then
        bin_dir=$value
      else
        register+=(--project "$value")
        where=yes
      fi
      shift
      ;;
    --local | --user)
      register+=("$1")
      where=yes
      shift
      ;;
    --plain | --continuous | --keep-others) register+=("$1"); shift ;;
    --try) try=yes; shift ;;
    -h | --help) help; exit 0 ;;
    *) usage "$1" ;;
  esac
done
[ "$where" = yes ] || [ ${#register[@]} = 0 ] || usage "${register[*]} without --project DIR, --local or --user"

# ---- build requirements ------------------------------------------------------------------------------------------
[ -x "$HOME/.cargo/bin/cargo" ] && PATH=$HOME/.cargo/bin:$PATH
if ! command -v cargo >/dev/null; then
  echo "install.sh: expected cargo (Rust 1.89 or newer), found none." >&2
  echo "Get it with: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh   (or your system's package rustup)" >&2
  exit 1
fi
needs=$(sed -n 's/^rust-version *= *"\(.*\)".*/\1/p' Cargo.toml)
has=$(rustc --version 2>/dev/null | sed -n 's/^rustc \([0-9][0-9.]*\).*/\1/p')
# Succeeds if the first version is at least the second.
reaches() { awk -v a="$1" -v b="$2" 'BEGIN { split(a, x, "."); split(b, y, "."); for (i = 1; i <= 3; i++) if (x[i] + 0 != y[i] + 0) exit x[i] + 0 < y[i] + 0; exit 0 }'; }
if [ -z "$has" ] || ! reaches "$has" "$needs"; then
  echo "install.sh: expected Rust $needs or newer, found ${has:-no rustc that runs}." >&2
  echo "Get it with: rustup update stable   (without rustup: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh)" >&2
  exit 1
fi
if ! command -v cc >/dev/null; then
  echo "install.sh: expected a C compiler (cc), found none. Get it with: sudo apt-get install gcc   (or your system's)" >&2
  exit 1
fi

# ---- build: static musl where possible, which starts fastest; else the machine's own target -----------------------
target=
case $(uname -s)-$(uname -m) in
  Linux-x86_64) target=x86_64-unknown-linux-musl ;;
  Linux-aarch64) target=aarch64-unknown-linux-musl ;;
esac
has_target() { [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)" ]; }
if [ -n "$target" ] && ! has_target "$target"; then
  # --try does not change the toolchain.
  [ "$try" = no ] && command -v rustup >/dev/null && rustup target add "$target" >/dev/null 2>&1 || true
  has_target "$target" || target=
fi
# Detecting AVX2 at run time costs a Stop event as much as its verdict where a hypervisor traps the instruction.
# So it is enabled at build time on a machine that has it. Such a binary runs only on machines with AVX2.
flags=
if [ "$target" = x86_64-unknown-linux-musl ] && grep -qw avx2 /proc/cpuinfo 2>/dev/null; then
  flags="target.$target.rustflags=['-C', 'target-feature=+avx2']"
fi
printf 'Building frosty with Rust %s for %s.\nThe first build takes a few minutes …\n' "$has" "${target:-this machine (a static musl build starts faster)}" >&2
begun=$SECONDS
cargo build --release --locked --bin frosty --bin frosty-hook ${target:+--target "$target"} ${flags:+--config "$flags"} >&2
echo "Built in $((SECONDS - begun)) s." >&2
folder=${CARGO_TARGET_DIR:-target}${target:+/$target}
built=$(cd "$folder/release" && pwd)
hook=$built/frosty-hook

# ---- --try: three Stop events, a compaction and an engine that waits, in a scratch directory ----------------------
if [ "$try" = yes ]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  mkdir -p "$scratch/project"
  below=$'\n             '
  ask() {
    local title=$1 payload=$2 code=0
    env -i PATH="$PATH" HOME="$scratch" XDG_STATE_HOME="$scratch/state" CLAUDE_PROJECT_DIR="$scratch/project" \
      "$hook" --store embedded --scope try <"$payload" >"$scratch/out" 2>"$scratch/err" || code=$?
    local verdict does
    verdict=$(tail -n 1 "$scratch/state/frosty/default/journal.jsonl" |
      sed 's/.*"verdict":"\([a-z]*\)","reason":"\([a-z_]*\)".*/\1, reason \2/')
    case $title-$code in
      Stop*-2) does="the client goes on with this prompt:${below}$(cut -c 1-60 "$scratch/err" | head -n 1)…" ;;
      Stop*-0) does="the agent stops; the screen shows:${below}$(sed 's/^{"systemMessage":"\(.*\)"}$/\1/' "$scratch/out")" ;;
      PreCompact*-0) does="the client compacts the conversation" ;;
      *) does="unexpected: $(cat "$scratch/err")" ;;
    esac
    printf '\n%s\n  verdict    %s\n  client     %s\n  exit code  %s\n' "$title" "$verdict" "$does" "$code"
    codes="${codes:-}$code "
  }
  echo "One agent stops three times in a row, then wants to compact. Policy: the defaults. Store: files in $scratch."
  ask "Stop 1" fixtures/hook/Stop-first.json
  ask "Stop 2, at once" fixtures/hook/Stop-first.json
  ask "Stop 3, at once: a storm begins" fixtures/hook/Stop-first.json
  ask "PreCompact (auto)" fixtures/hook/PreCompact-auto.json

  # A second agent, with the waiting engine and a minimum interval of 2 s instead of 15.
  mkdir -p "$scratch/.claude"
  echo '{"stop": {"min_interval": "2s"}}' >"$scratch/.claude/frosty.json"
  sed 's/"session_id": *"[^"]*"/"session_id": "engine"/' fixtures/hook/Stop-first.json >"$scratch/stop.json"
  engine() {
    env -i PATH="$PATH" HOME="$scratch" XDG_STATE_HOME="$scratch/state" CLAUDE_PROJECT_DIR="$scratch/project" \
      "$hook" --store embedded --scope engine "$@" <"$scratch/stop.json" >"$scratch/out" 2>"$scratch/err"
  }
  printf '\nStop 2 of another agent, with the engine that waits and a min_interval of 2 s\n'
  engine || true
  begun=$SECONDS code=0
  engine --wait 60s --timeout 60 || code=$?
  tail -n 2 "$scratch/state/frosty/default/journal.jsonl" |
    sed 's/.*"verdict":"\([a-z]*\)","reason":"\([a-z_]*\)".*/  verdict    \1, reason \2/'
  printf '  client     it went on after %s s:\n             %s…\n  exit code  %s\n\n' $((SECONDS - begun)) \
    "$(cut -c 1-60 "$scratch/err" | head -n 1)" "$code"
  codes="$codes$code "
  if [ "$codes" != "2 0 0 0 2 " ]; then
    echo "install.sh: expected the exit codes 2 0 0 0 2, found $codes" >&2
    exit 1
  fi
  echo "As it should be: 2 0 0 0 2. Nothing was installed; ./install.sh does that."
  exit 0
fi

# ---- install -----------------------------------------------------------------------------------------------------
# A running hook keeps its old file, and the new one replaces it at once. The hook binary comes last, because it
# starts the tool beside it.
put_in_place() {
  local name
  mkdir -p "$bin_dir" || return
  for name in frosty frosty-hook; do
    [ ! -d "$bin_dir/$name" ] || { echo "a folder called $name in it"; return 1; }
    cp "$built/$name" "$bin_dir/.$name.new" || return
  done
  for name in frosty frosty-hook; do
    mv -f "$bin_dir/.$name.new" "$bin_dir/$name" || return
  done
}
if ! said=$(put_in_place 2>&1); then
  rm -f "$bin_dir/.frosty.new" "$bin_dir/.frosty-hook.new" 2>/dev/null || true
  echo "install.sh: expected a folder for programs that you may write to at $bin_dir, found: $said; name another: ./install.sh --bin-dir ~/bin" >&2
  exit 1
fi
bin_dir=$(CDPATH= cd -- "$bin_dir" && pwd)
frosty=$bin_dir/frosty
printf 'Installed %s:\n  %s\n  %s\n' "$("$frosty" --version)" "$frosty" "$bin_dir/frosty-hook"
# Quoted so that it can be pasted.
shown=$(printf %q "$frosty")
case :$PATH: in
  *:"$bin_dir":*) ;;
  *) printf 'Its folder is not on your PATH. The hooks need no PATH; for the commands:\n  export PATH=%q:$PATH\n' "$bin_dir" ;;
esac

# Shell completions and man pages, written by the program itself. It also works without them.
data=${XDG_DATA_HOME:-$HOME/.local/share}
completions() {
  local shell=$1 file=$2
  mkdir -p "$(dirname -- "$file")" && "$frosty" completions "$shell" >"$file.new" && mv -f "$file.new" "$file" && return
  rm -f "$file.new"
  return 1
} 2>/dev/null
put= zsh=
completions bash "$data/bash-completion/completions/frosty" && put="$put bash"
completions zsh "$data/zsh/site-functions/_frosty" && put="$put zsh" zsh=yes
completions fish "${XDG_CONFIG_HOME:-$HOME/.config}/fish/completions/frosty.fish" && put="$put fish"
[ -z "$put" ] || echo "Completions for:$put (from the next shell on)"
[ -z "$zsh" ] || printf 'For zsh, before compinit:\n  fpath+=(%q)\n' "$data/zsh/site-functions"
if mkdir -p "$data/man/man1" 2>/dev/null && "$frosty" man --dir "$data/man/man1" >/dev/null 2>&1; then
  # man finds pages by name only beside a directory of the PATH.
  man -w frosty >/dev/null 2>&1 && page=frosty || page=$(printf %q "$data/man/man1/frosty.1")
  printf 'Man pages:\n  man %s\n' "$page"
fi

# ---- register ----------------------------------------------------------------------------------------------------
cd -- "$called_from"
echo
if [ "$where" = yes ]; then
  exec "$frosty" install "${register[@]}"
fi
# Nothing is registered without a request, but conflicts are reported all the same.
if ! found=$("$frosty" install --user --dry-run 2>&1 >/dev/null) && found=$(grep '^  ' <<<"$found"); then
  printf 'These decide stops already, here or in your own settings; beside some of them nothing is throttled:\n%s\n\n' "$found"
fi
# Shorter where the shell finds this program by its name.
[ "$(command -v frosty)" = "$frosty" ] && shown=frosty
cat <<END
Registered hooks run the new program from their next event on. Nothing else was
registered. To register Frosty (with --dry-run: to see the change):
  $shown install --project DIR
      every session of one project
  $shown install --local --project DIR
      the same, in unshared settings
  $shown install --user
      all projects, armed sessions only
With --plain a refused agent stops until you type; else it waits, and resumes by
itself. To undo it: frosty uninstall, with the same flags.
END
