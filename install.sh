#!/usr/bin/env bash
# Builds Frosty and puts it in place. No sudo; can be run again.
#
#   ./install.sh                 build, install into ~/.local/bin, print what to paste
#   ./install.sh --bin-dir DIR   install into DIR instead
#   ./install.sh --project DIR   look for old Stop hooks in that project instead of the folder you call it from
#   ./install.sh --engine plain  print the plain engine's settings instead of the continuous one's
#   ./install.sh --try           build, and show Frosty at work in a scratch folder; installs nothing
set -euo pipefail
: "${HOME:?install.sh: expected HOME to be set; set it: export HOME=~}"
called_from=$PWD
CDPATH= cd -- "$(dirname -- "$0")"

bin_dir=$HOME/.local/bin
project=${CLAUDE_PROJECT_DIR:-$called_from}
try=no
engine=continuous
# A folder as seen from where this was called.
folder() {
  case ${2:-} in
    '' | -*) usage "$1 without a folder" ;;
    /*) printf '%s' "$2" ;;
    *) printf '%s/%s' "$called_from" "$2" ;;
  esac
}
usage() {
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  echo "install.sh: expected --bin-dir DIR, --project DIR, --engine continuous|plain or --try, found: $1; see the lines above" >&2
  exit 64
}
while [ $# -gt 0 ]; do
  case $1 in
    --bin-dir | --project)
      value=$(folder "$1" "${2:-}") || exit 64
      if [ "$1" = --project ]; then project=$value; else bin_dir=$value; fi
      shift 2
      ;;
    --bin-dir=* | --project=*)
      value=$(folder "${1%%=*}" "${1#*=}") || exit 64
      case $1 in --project=*) project=$value ;; *) bin_dir=$value ;; esac
      shift
      ;;
    --engine)
      case ${2:-} in continuous | plain) engine=$2 ;; *) usage "$1 ${2:-}" ;; esac
      shift 2
      ;;
    --try) try=yes; shift ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) usage "$1" ;;
  esac
done

# ---- what a build needs ------------------------------------------------------------------------------------------
[ -x "$HOME/.cargo/bin/cargo" ] && PATH=$HOME/.cargo/bin:$PATH
if ! command -v cargo >/dev/null; then
  echo "install.sh: expected cargo (Rust 1.89 or newer), found none." >&2
  echo "Get it with: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh   (or your system's package rustup)" >&2
  exit 1
fi
if ! command -v cc >/dev/null; then
  echo "install.sh: expected a C compiler (cc), found none. Get it with: sudo apt-get install gcc   (or your system's)" >&2
  exit 1
fi

# ---- build: static musl where it can be had, which starts fastest; else the machine's own target -----------------
target=
case $(uname -s)-$(uname -m) in
  Linux-x86_64) target=x86_64-unknown-linux-musl ;;
  Linux-aarch64) target=aarch64-unknown-linux-musl ;;
esac
has_target() { [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)" ]; }
if [ -n "$target" ] && ! has_target "$target"; then
  # A try changes nothing of the toolchain.
  [ "$try" = no ] && command -v rustup >/dev/null && rustup target add "$target" >/dev/null 2>&1 || true
  has_target "$target" || target=
fi
# Asking the processor for AVX2 at run time costs a stop as much as its verdict where a hypervisor traps the question, so
# a machine that has it is told so here. Such a binary stays on machines that have it too.
flags=
if [ "$target" = x86_64-unknown-linux-musl ] && grep -qw avx2 /proc/cpuinfo 2>/dev/null; then
  flags="target.$target.rustflags=['-C', 'target-feature=+avx2']"
fi
echo "Building frosty for ${target:-this machine (a static musl build would start faster)} …" >&2
cargo build --release --locked --quiet --bin frosty ${target:+--target "$target"} ${flags:+--config "$flags"}
folder=${CARGO_TARGET_DIR:-target}${target:+/$target}
binary=$(cd "$folder/release" && pwd)/frosty

# ---- --try: three stops and a compaction, in a scratch folder -----------------------------------------------------
if [ "$try" = yes ]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  mkdir -p "$scratch/project"
  ask() {
    local title=$1 payload=$2 code=0
    env -i PATH="$PATH" HOME="$scratch" XDG_STATE_HOME="$scratch/state" CLAUDE_PROJECT_DIR="$scratch/project" \
      "$binary" hook --store embedded --scope try <"$payload" >"$scratch/out" 2>"$scratch/err" || code=$?
    local verdict does
    verdict=$(tail -n 1 "$scratch/state/frosty/default/journal.jsonl" |
      sed 's/.*"verdict":"\([a-z]*\)","reason":"\([a-z_]*\)".*/\1, reason \2/')
    case $title-$code in
      Stop*-2) does="the client goes on with this prompt: $(cut -c 1-60 "$scratch/err" | head -n 1)…" ;;
      Stop*-0) does="the agent stands down; the screen shows: $(sed 's/^{"systemMessage":"\(.*\)"}$/\1/' "$scratch/out")" ;;
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
  echo
  if [ "$codes" != "2 0 0 0 " ]; then
    echo "install.sh: expected the exit codes 2 0 0 0, found $codes" >&2
    exit 1
  fi
  echo "As it should be: 2 0 0 0. Nothing was installed; ./install.sh does that."
  exit 0
fi

# ---- install -----------------------------------------------------------------------------------------------------
mkdir -p "$bin_dir"
# A running hook keeps its old file; the new one takes its place at once.
cp "$binary" "$bin_dir/.frosty.new"
mv -f "$bin_dir/.frosty.new" "$bin_dir/frosty"
bin_dir=$(CDPATH= cd -- "$bin_dir" && pwd)
echo "Installed $("$bin_dir/frosty" --version) as $bin_dir/frosty."
case :$PATH: in
  *:"$bin_dir":*) ;;
  *) echo "That folder is not on your PATH; the hooks below name it in full, so they work all the same. For the commands: export PATH=$bin_dir:\$PATH" ;;
esac

# ---- old Stop hooks: beside one of them nothing is throttled ------------------------------------------------------
# The strings inside the "Stop" lists of a settings file, one per line, still escaped.
stop_strings() {
  awk '
    { text = text $0 "\n" }
    END {
      depth = 0; inside = 0; n = length(text)
      for (i = 1; i <= n; i++) {
        c = substr(text, i, 1)
        if (c == "\"") {
          word = ""
          for (i++; i <= n; i++) {
            c = substr(text, i, 1)
            if (c == "\"") break
            word = word c
            if (c == "\\") { i++; word = word substr(text, i, 1) }
          }
          last = word
          if (inside) print word
        } else if (c == ":") {
          key = last
        } else if (c == "[" || c == "{") {
          depth++
          if (!inside && c == "[" && key == "Stop") inside = depth
          key = ""
        } else if (c == "]" || c == "}") {
          if (inside == depth) inside = 0
          depth--
        }
      }
    }' "$1"
}
old_hooks() {
  local file=$1 escaped command script
  [ -r "$file" ] || return 0
  stop_strings "$file" | while IFS= read -r escaped; do
    command=$(printf '%s' "$escaped" | sed 's/\\"/"/g; s/\\n/\n/g; s/\\t/\t/g; s/\\\\/\\/g')
    script=$(script_of "$command")
    if old_kind "$command" || { [ -n "$script" ] && old_kind "$(cat "$script")"; }; then
      printf '%s: %s\n' "$file" "$escaped"
    fi
  done
}
# A hook of the old kind: writes to /xadd/, or starts another claude in the background, or always exits 2.
old_kind() {
  case $1 in */xadd/*) return 0 ;; esac
  printf '%s\n' "$1" | grep -Eq 'claude[^|;&]* -c( .*)?&' && return 0
  printf '%s\n' "$1" | grep -v '^[[:space:]]*$' | tail -n 1 | grep -Eq "(^|[;&[:space:]])exit 2[[:space:];'\"]*\$"
}
# The script that a command runs, if it is one that can be read.
script_of() {
  local word
  for word in $1; do
    word=${word//\"/}
    word=${word/#\~/$HOME}
    word=${word//\$HOME/$HOME}
    word=${word//\$CLAUDE_PROJECT_DIR/$PWD}
    if [ -f "$word" ] && [ -r "$word" ] && head -c 2 "$word" | grep -q '#!'; then
      printf '%s' "$word"
      return 0
    fi
  done
  return 0
}
user_dir=${CLAUDE_CONFIG_DIR:-$HOME/.claude}
settings=("$user_dir/settings.json" "$user_dir/settings.local.json" "$project/.claude/settings.json"
  "$project/.claude/settings.local.json")
found=$(for file in "${settings[@]}"; do old_hooks "$file"; done | sort -u)
printf '\nLooked for Stop hooks of the old kind in %s and %s: ' "$user_dir" "$project/.claude"
if [ -n "$found" ]; then
  printf 'found some.\nBeside one of them nothing is throttled; take out:\n'
  printf '%s\n' "$found" | sed 's/^/  /'
else
  printf 'none.\n'
fi

printf '\nTo register it, merge this into .claude/settings.json of the project whose agents should go on:\n\n'
example=continuous
[ "$engine" = continuous ] || example=settings
# The path as a JSON string; awk, since sed would read an & or | in it as its own.
path=$(printf '%s/frosty' "$bin_dir" | sed 's/\\/\\\\/g; s/"/\\"/g')
PLACE="\"$path\"" awk '{
  at = index($0, "\"frosty\"")
  if (at) $0 = substr($0, 1, at - 1) ENVIRON["PLACE"] substr($0, at + 8)
  print
}' "hooks/$example.example.json"
if [ "$engine" = plain ]; then
  printf '\nA refused stop ends the turn, and a person types to go on. For agents that come back: ./install.sh --engine continuous\n'
else
  printf '\nA refused stop waits, and the agent comes back by itself. For the engine that does not wait: ./install.sh --engine plain\n'
fi
printf 'The README tells what each line does, and how to arm single sessions instead.\n'
