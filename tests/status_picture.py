#!/usr/bin/env python3
"""Renews docs/status.svg: a real `frosty status` in a real terminal, of sessions made by real `frosty hook` calls.

    cargo build --release && tests/status_picture.py [path of frosty]

Needs redis-server and tmux; both are of its own, in a scratch folder, and end with it.
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from terminal_svg import svg

COLUMNS, LINES = 80, 22
POLICY = {"budget": "1s", "stop": {"quotas": [{"limit": 40, "per": "1h"}]}}
# For what happened before: as many continuations as wanted, at once.
LOOSE = {"stop": {"min_interval": "0s", "burst": None}}


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
    (root / "docs/status.svg").write_text(svg([("", screen.split("\n"))], "frosty status", COLUMNS))


main()
