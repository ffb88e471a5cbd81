#!/usr/bin/env python3
"""Renews docs/agent.svg: the real client with Frosty's continuous engine, recorded as an agent stops, waits and resumes.

    tests/client/run.sh --fetch && cargo build && tests/agent_picture.py

Runs the client of `tests/client` on loopback, in a network namespace of its own, against a scripted API.
"""
import os
import re
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLUMNS, LINES = 80, 40
SHOWN = 9
INTERVAL = 6


def apart():
    """Runs this script again with nothing but loopback."""
    version = re.search(r"^version=(\S+)", (ROOT / "tests/client/run.sh").read_text(), re.M)[1]
    env = {**os.environ, "CLIENT_BIN": str(ROOT / f"target/client/{version}/package/claude"), "PYTHONDONTWRITEBYTECODE": "1",
           "FROSTY_BIN": os.environ.get("FROSTY_BIN", str(ROOT / "target/debug/frosty")), "FROSTY_PICTURE": "1"}
    unshare = ["unshare", "-n"] if os.getuid() == 0 else ["unshare", "-rn"]
    os.execvpe("unshare", [*unshare, "sh", "-c", 'ip link set lo up && exec timeout 120 "$@"', "_", sys.executable, __file__], env)


def main():
    if "FROSTY_PICTURE" not in os.environ:
        apart()
    sys.path[:0] = [str(ROOT / "tests/client")]
    from bench import Bench
    from stub import text
    from terminal_svg import svg

    turns = ["The parser test is fixed. Next: the changelog.",
             "The changelog has an entry. Next: the release notes.",
             "The release notes are written.\n\nfrosty: next_check 20m"]
    bench = Bench(False)
    try:
        bench.start(lambda call: text(turns[min(call.n, 3) - 1]), {"stop": {"min_interval": f"{INTERVAL}s"}})
        terminal = bench.open()
        terminal._tmux("resize-window", "-x", str(COLUMNS), "-y", str(LINES))
        time.sleep(1)
        panels = []

        def record(caption):
            screen = terminal._tmux("capture-pane", "-e", "-p").rstrip().split("\n")
            prompt = max(n for n, line in enumerate(screen) if "❯" in line)
            lines = [line for line in screen[:prompt - 1] if plain(line).strip() and "/effort" not in line]
            panels.append((caption, lines[-SHOWN:]))

        terminal.say("Work through TODO.md.")
        bench.stub.wait(2, 60)
        bench.until(lambda: bench.journal.refusals("min_interval"), 30, "a refusal")
        bench.waiting()
        terminal.until(lambda s: "Next: the release notes" in s, 20, "the second turn")
        time.sleep(1)
        record(f"Two turns within {INTERVAL} s: the agent stopped, and Frosty waits")
        bench.stub.wait(3, 60)
        bench.until(lambda: bench.journal.refusals("rest"), 30, "the rest")
        terminal.until(lambda s: "release notes are written" in s, 20, "the third turn")
        time.sleep(1)
        record("The agent resumed by itself, and booked a rest of 20 minutes")
        code, out = bench.home.frosty("status")
        panels.append(("$ frosty status", out.rstrip().split("\n")))
    finally:
        bench.close()
    (ROOT / "docs/agent.svg").write_text(svg(panels, "Claude Code with Frosty", COLUMNS))
    for caption, lines in panels:
        print(f"== {caption}", *map(plain, lines), sep="\n")


def plain(line):
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


if __name__ == "__main__":
    main()
