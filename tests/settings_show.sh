#!/usr/bin/env bash
# Shows what `frosty install` and `frosty uninstall` make of settings files of every kind: settings_show.sh [FROSTY]
# FROSTY: the program, else one that was built or installed. Everything happens in a scratch folder.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
frosty=${1:-}
for built in "${CARGO_TARGET_DIR:-$root/target}"/{x86_64-unknown-linux-musl/,aarch64-unknown-linux-musl/,}{release,debug}/frosty; do
  [ -n "$frosty" ] || [ ! -x "$built" ] || frosty=$built
done
frosty=${frosty:-$(command -v frosty)} || { echo "settings_show.sh: expected a program, found none: cargo build" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/bin" "$scratch/home" "$scratch/kept"
cp "$frosty" "$(dirname "$frosty")/frosty-hook" "$scratch/bin/"
frosty=$scratch/bin/frosty

# Control characters are shown (^M, M-oM-;M-?), long lines are cut, the scratch folder is left out.
shown() { cat -v | sed "s|$scratch/||g" | cut -c 1-"${COLUMNS:-118}" | sed 's/^/    /'; }
failed=0
expect() {
  if [ "$1" = "$2" ]; then echo "  $3: yes"; else echo "  $3: NO"; failed=1; fi
}
run() { env -i PATH="$PATH" HOME="$scratch/home" "$frosty" "$@" --project "$scratch/p" >"$scratch/told" 2>&1; }

step() {
  cp "$file" "$scratch/before"
  echo "  \$ frosty $*"
  run "$@" || true
  head -n 1 "$scratch/told" | shown
  diff -u --label before --label after "$scratch/before" "$file" | tail -n +3 | shown || true
}

# A settings file of this kind, on stdin, through all of it.
kind() {
  local title=$1 mode=${2:-644}
  printf '\n== %s\n' "$title"
  rm -rf "$scratch/p" "$scratch/home"
  mkdir "$scratch/home"
  mkdir -p "$scratch/p/.claude"
  file=$scratch/p/.claude/settings.json
  if [ "$mode" = link ]; then
    mkdir "$scratch/p/dotfiles"
    cat >"$scratch/p/dotfiles/claude.json"
    ln -s ../dotfiles/claude.json "$file"
  else
    cat >"$file"
    chmod "$mode" "$file"
  fi
  cp "$file" "$scratch/kept/file"
  mode=$(stat -c '%a %F' "$file")
  step install
  cp "$file" "$scratch/kept/once"
  step install
  expect "$(sum "$file")" "$(sum "$scratch/kept/once")" "installed again, nothing changed"
  step install --plain
  step uninstall
  expect "$(sum "$file")" "$(sum "$scratch/kept/file")" "byte for byte what it was"
  expect "$(stat -c '%a %F' "$file")" "$mode" "its mode, and a link if it was one ($mode)"
  expect "$(find "$scratch/home" -name '*.frosty-backup-*' | wc -l)" 3 "a backup of each change, three"
}
sum() { sha256sum <"$1"; }

persons='{
  "permissions": { "allow": ["Bash(ls:*)"] },
  "hooks": {
    "Stop": [
      { "hooks": [{ "type": "command", "command": "say done" }] }
    ],
    "PreToolUse": [
      { "matcher": "Bash", "hooks": [{ "type": "command", "command": "./check.sh" }] }
    ]
  },
  "model": "opus"
}'
two_thousand() {
  printf '{\n  "hooks": {\n    "Stop": [\n'
  for i in $(seq 1999); do echo "      { \"hooks\": [{ \"type\": \"command\", \"command\": \"echo $i\" }] },"; done
  printf '      { "hooks": [{ "type": "command", "command": "echo 2000" }] }\n    ]\n  }\n}\n'
}
kind "a person's own hooks" 600 <<<"$persons"
kind "odd indentation, no line end at the end" \
  < <(printf '{\n\t "model" :"opus"\n,\t "hooks":{ "Stop" : [{"hooks":[ ]}\n\t\t ]}}')
kind "a symlink" link <<<"$persons"
kind "2,000 hooks" < <(two_thousand)
# shellcheck disable=SC2001
kind "CRLF" < <(sed 's/$/\r/' <<<"$persons")
kind "a byte-order mark" < <(printf '\357\273\277%s\n' "$persons")
kind "one line" < <(printf '{"model":"opus","hooks":{}}')

printf '\n== invalid JSON\n'
printf '{\n  "model": "opus",\n}\n' >"$file"
cp "$file" "$scratch/kept/file"
for command in "install" "install" "install --plain" "uninstall"; do
  echo "  \$ frosty $command"
  # shellcheck disable=SC2086 # words
  if run $command; then code=0; else code=$?; fi
  fold -s -w 114 "$scratch/told" | shown
  echo "    exit $code"
done
expect "$(sum "$file")" "$(sum "$scratch/kept/file")" "untouched"
expect "$(find "$scratch/p" -name '*.frosty-*' | wc -l)" 0 "nothing beside it"
echo
[ "$failed" = 0 ] && echo "As it should be."
exit "$failed"
