#!/usr/bin/env python3
"""Renews docs/status.svg: a real `frosty status` in a real terminal, of sessions made by real `frosty hook` calls.

    cargo build --release && tests/status_picture.py [path of frosty]

Needs redis-server and tmux; both are of its own, in a scratch folder, and end with it.
"""
import html
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unicodedata
from pathlib import Path

COLUMNS, LINES = 80, 22
POLICY = {"budget": "1s", "stop": {"quotas": [{"limit": 40, "per": "1h"}]}}
# For what happened before: as many continuations as wanted, at once.
LOOSE = {"stop": {"min_interval": "0s", "burst": None}}
BACKGROUND, FOREGROUND = "#0d1420", "#d7dee8"
PALETTE = {31: "#ff6b6b", 32: "#7ddc8c", 33: "#f2c55c", 34: "#6ab0f3", 35: "#d58cff", 36: "#63d3e0"}
CELL, LINE, MARGIN, BAR = 8.4, 19, 16, 34


class Stage:
    def __init__(self, frosty, home, port):
        self.frosty = frosty
        self.engines = []
        self.project = home / "project"
        (self.project / ".claude").mkdir(parents=True)
        (home / ".claude").mkdir()
        (home / ".claude/frosty.json").write_text(json.dumps(POLICY))
        self.loose = home / "loose.json"
        self.loose.write_text(json.dumps(LOOSE))
        self.env = {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8",
                    "TMUX_TMPDIR": str(home), "FROSTY_STORE": f"redis://127.0.0.1:{port}",
                    "CLAUDE_PROJECT_DIR": str(self.project)}

    def hook(self, name, event, env=None, waits=False, **fields):
        payload = json.dumps({"session_id": f"{name}-0000", "hook_event_name": event, **fields}).encode()
        args = [self.frosty, "hook"] + (["--wait", "20d", "--timeout", "1900000"] if waits else [])
        process = subprocess.Popen(args, env={**self.env, "FROSTY_NAME": name, **(env or {})}, cwd=self.project,
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        process.stdin.write(payload)
        process.stdin.close()
        if not waits:
            process.wait(10)
            return None
        self.engines.append(process)
        time.sleep(0.15)
        return process

    def past(self, name, continuations):
        for _ in range(continuations):
            self.hook(name, "Stop", env={"FROSTY_CONFIG": str(self.loose)})

    def stops(self, name, saying, waits=True, **fields):
        return self.hook(name, "Stop", waits=waits, last_assistant_message=saying, **fields)

    def play(self):
        """A night's end."""
        self.past("migrate-db", 12)
        self.past("docs-sweep", 5)
        self.past("fuzz-parser", 31)
        for name, n in [("translate-ui", 3), ("lint-fixes", 2), ("api-client", 4), ("release-notes", 1)]:
            self.past(name, n)
        self.stops("docs-sweep", "frosty: next_check 40m")
        self.stops("translate-ui", "frosty: wait_for the nightly build")
        self.stops("api-client", "frosty: blocked Ann: which schema?")
        self.stops("release-notes", "frosty: done")
        self.stops("bench-runner", "", background_tasks=[{"type": "subagent", "status": "running"}])
        for _ in range(4):
            self.stops("fuzz-parser", "more", waits=False)
        self.stops("fuzz-parser", "more")
        self.hook("payments", "StopFailure", waits=True, error="billing_error")
        self.hook("search-index", "StopFailure", waits=True, error="rate_limit")
        lost = self.stops("cache-layer", "frosty: next_check 2h")
        lost.kill()
        lost.wait()
        self.stops("lint-fixes", "", waits=False)
        self.hook("old-ui", "SessionEnd")
        self.hook("upgrade-deps", "UserPromptSubmit", prompt="go")
        self.hook("upgrade-deps", "Notification", notification_type="permission_prompt")
        self.past("migrate-db", 1)
        self.hook("explore", "UserPromptSubmit", prompt="have a look")
        self.past("i18n", 2)
        self.stops("i18n", "more")

    def screen(self):
        """What `frosty status` shows there, with its colours."""
        def tmux(*args):
            return subprocess.run(["tmux", "-L", "picture", "-f", "/dev/null", *args], env=self.env, cwd=self.project,
                                  check=True, capture_output=True, text=True, timeout=20).stdout
        shown = f"{self.frosty} status; exec sleep 60"
        tmux("new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), shown)
        try:
            tmux("set-option", "-g", "status", "off")
            for _ in range(100):
                screen = tmux("capture-pane", "-e", "-p")
                if "LAST REASON" in screen:
                    break
                time.sleep(0.1)
            time.sleep(0.5)
            return tmux("capture-pane", "-e", "-p").rstrip("\n")
        finally:
            tmux("kill-server")

    def end(self):
        for engine in self.engines:
            engine.kill()
            engine.wait()


def columns(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text)


def svg(screen, title):
    lines = screen.split("\n")
    width, height = COLUMNS * CELL + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN + BAR
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
           f'viewBox="0 0 {width:g} {height:g}" font-family="DejaVu Sans Mono, Menlo, Consolas, Noto Sans Mono CJK SC, '
           f'WenQuanYi Zen Hei, monospace" font-size="14">',
           f"<title>{html.escape(title)}</title>",
           f'<rect width="100%" height="100%" rx="9" fill="{BACKGROUND}"/>']
    for i, colour in enumerate(["#ff5f57", "#febc2e", "#28c840"]):
        out.append(f'<circle cx="{MARGIN + 7 + 20 * i}" cy="{BAR / 2 + 3:g}" r="6" fill="{colour}"/>')
    out.append(f'<text x="{width / 2:g}" y="{BAR / 2 + 8:g}" text-anchor="middle" fill="#7b8796">{html.escape(title)}</text>')
    for row, line in enumerate(lines):
        y = BAR + MARGIN + LINE * row + 13
        column, style = 0, {}
        for part in re.split(r"(\x1b\[[0-9;]*m)", line):
            if part.startswith("\x1b"):
                for code in [int(c or 0) for c in part[2:-1].split(";")]:
                    if code == 0:
                        style = {}
                    elif code == 1:
                        style["font-weight"] = "bold"
                    elif code == 2:
                        style["opacity"] = "0.6"
                    elif code in PALETTE:
                        style["fill"] = PALETTE[code]
                    elif code == 39:
                        style.pop("fill", None)
                continue
            # Each word where the terminal has it, whatever font draws it.
            for word in re.finditer(r"\S+(?: \S+)*", part):
                at = column + columns(part[:word.start()])
                given = {"fill": FOREGROUND, **style, "x": f"{MARGIN + at * CELL:g}", "y": f"{y:g}",
                         "textLength": f"{columns(word[0]) * CELL:g}", "lengthAdjust": "spacingAndGlyphs"}
                attributes = " ".join(f'{name}="{value}"' for name, value in given.items())
                out.append(f'<text xml:space="preserve" {attributes}>{html.escape(word[0])}</text>')
            column += columns(part)
    return "\n".join([*out, "</svg>", ""])


def main():
    root = Path(__file__).resolve().parents[1]
    frosty = str(Path(sys.argv[1] if len(sys.argv) > 1 else root / "target/release/frosty").resolve())
    home = Path(tempfile.mkdtemp(prefix="frosty-pic-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""], cwd=home,
                              stdout=subprocess.DEVNULL)
    stage = Stage(frosty, home, port)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.02)
        stage.play()
        screen = stage.screen()
    finally:
        stage.end()
        server.terminate()
        server.wait()
        shutil.rmtree(home, ignore_errors=True)
    screen = screen.replace(f":{port}", ":18000")
    print(screen)
    (root / "docs/status.svg").write_text(svg(screen, "frosty status"))


main()
