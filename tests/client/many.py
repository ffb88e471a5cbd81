#!/usr/bin/env python3
"""Many engines waiting on one machine against one server: their memory and CPU together.

many.py [--engines 200] [--seconds 30]; FROSTY_BIN: the binary, else the release build is made and taken.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True

import procs
from server import Server

ROOT = Path(__file__).resolve().parents[2]
MUSL = "x86_64-unknown-linux-musl"
PSS_MIB = 3.0
CPU_PERCENT = 2.0
TICKS = os.sysconf("SC_CLK_TCK")


def binary():
    if os.environ.get("FROSTY_BIN"):
        return str(Path(os.path.realpath(os.environ["FROSTY_BIN"])).with_name("frosty-hook"))
    libs = subprocess.run(["rustc", "--print", "target-libdir", "--target", MUSL], capture_output=True, text=True)
    target = [MUSL] if Path(libs.stdout.strip() or "/nowhere").is_dir() else []
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--bin", "frosty-hook",
                    *(f"--target={t}" for t in target)], cwd=ROOT, check=True, timeout=1800)
    return str(ROOT.joinpath("target", *target, "release", "frosty-hook"))


def engine(frosty, home, url, n):
    session = f"00000000-0000-4000-8000-{n:012d}"
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "CLAUDE_PROJECT_DIR": str(home), "CLAUDE_PID": str(os.getpid()),
           "CLAUDE_CODE_SESSION_ID": session, "CLAUDE_CODE_SESSION_ATTENDED": "1", "CLAUDE_CODE_ENTRYPOINT": "cli"}
    payload = {"session_id": session, "transcript_path": f"{home}/{session}.jsonl", "cwd": str(home),
               "hook_event_name": "Stop", "stop_hook_active": False, "background_tasks": [], "session_crons": [],
               "last_assistant_message": "All done.\n\nfrosty: done"}
    child = subprocess.Popen([frosty, "--wait", "20d", "--timeout", "1900000", "--store", url], cwd=home,
                             env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    child.stdin.write(json.dumps(payload).encode())
    child.stdin.close()
    return child


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def cpu_seconds(pid):
    """By the scheduler's nanoseconds, where the kernel tells them: hundredths of a second miss short wake-ups."""
    try:
        with open(f"/proc/{pid}/schedstat") as f:
            return int(f.read().split()[0]) / 1e9
    except OSError:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def measure(frosty, engines, seconds, home, server):
    children = []
    try:
        children = [engine(frosty, home, server.url, n) for n in range(engines)]
        end = time.monotonic() + 60
        while int(server.ask("ZCARD", "frosty:{default}:sessions")) < engines and time.monotonic() < end:
            time.sleep(0.2)
        time.sleep(5)  # the last of them starts to listen
        connections = int(server.ask("INFO", "clients").split("connected_clients:")[1].split()[0]) - 1
        before = {c.pid: cpu_seconds(c.pid) for c in children}
        start = time.monotonic()
        time.sleep(seconds)
        dead = [c.returncode for c in children if c.poll() is not None]
        if dead:
            sys.exit(f"many.py: {len(dead)} engines ended, with exit codes {sorted(set(dead))}")
        cpu = sum(cpu_seconds(pid) - used for pid, used in before.items()) / (time.monotonic() - start) * 100
        pss = [pss_kib(c.pid) / 1024 for c in children]
        return pss, cpu, connections
    finally:
        procs.end([c.pid for c in children], 10)
        for c in children:
            c.wait(10)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--engines", type=int, default=200)
    args.add_argument("--seconds", type=float, default=30)
    args = args.parse_args()
    frosty = binary()
    server = Server()
    try:
        with tempfile.TemporaryDirectory(prefix="fc-") as home:
            pss, cpu, connections = measure(frosty, args.engines, args.seconds, Path(home), server)
    finally:
        server.close()
    mean = sum(pss) / len(pss)
    print(f"{len(pss)} waiting engines, one server: PSS {sum(pss):.1f} MiB together, {mean:.2f} MiB each (most {max(pss):.2f}); "
          f"CPU {cpu:.2f} % of one core over {args.seconds:.0f} s; {connections / len(pss):.2f} connections each")
    failed = [what for what, bad in (
        (f"more than {PSS_MIB} MiB each", mean > PSS_MIB),
        (f"more than {CPU_PERCENT} % of one core", cpu > CPU_PERCENT),
        ("more than one connection each", connections > len(pss)),
    ) if bad]
    for what in failed:
        print(f"many.py: FAILED: {what}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
