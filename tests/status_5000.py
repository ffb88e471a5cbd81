#!/usr/bin/env python3
"""How long the commands for people take with 5,000 sessions: `frosty status`, and those that find one session by its name.

    cargo build --release && tests/status_5000.py [path of frosty]

Starts a redis-server of its own, in a scratch folder, and ends it. Prints the median of 21 runs, the fastest and the slowest.
The sessions have the states of a busy night; the journal of the last hour holds 20,000 entries, of which 10,000 are read.
"""
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SESSIONS = 5000
ENTRIES = 20_000
RUNS = 21
NOW = int(time.time() * 1000)
HOST = os.uname().nodename
BORN = {"at": NOW - 60_000, "id": "stop"}


def sessions():
    """Each: id, its fields, and those of its scope."""
    for i in range(SESSIONS):
        own = {"scope": f"tmux-default-p{i}", "name": f"agent-{i}", "label": f"night:{i}", "seen": NOW - 60_000 - i,
               "host": HOST, "fence": NOW, "count": i % 50, "last_reason": "admitted"}
        scope = {"admitted_at": NOW - 90_000, "attempts": [NOW - 90_000], "strikes": 0}
        kind = i % 8
        if kind == 1:
            own |= {"last_reason": "rest", "rest": ("rest", NOW - 60_000, NOW + 1_200_000, ""), "host": "elsewhere", "pid": 7}
        elif kind == 2:
            own |= {"last_reason": "cooldown", "host": "elsewhere", "pid": 7}
            scope |= {"cooldown": (NOW - 60_000, NOW + 600_000), "strikes": 3}
        elif kind == 3:
            own |= {"last_reason": "done", "rest": ("done", NOW - 60_000, None, ""), "pid": 4_000_000}
        elif kind == 4:
            own |= {"needs_you": True}
        elif kind == 5:
            own |= {"last_reason": "min_interval"}
        elif kind == 6:
            own |= {"last_reason": "wait_for", "rest": ("wait_for", NOW - 60_000, NOW + 86_000_000, f"build {i}"),
                    "host": "elsewhere", "pid": 7}
        yield f"{i:08x}-0000-4000-8000-000000000000", own, scope


def entries():
    """Entries of the journal, oldest first."""
    for n in range(ENTRIES):
        i = n % SESSIONS
        ms = NOW - 3_000_000 + n * 100
        yield ms, {
            "timestamp": time.strftime("%Y%m%d_%H%M%S", time.gmtime(ms / 1000)), "window": f"night:{i}",
            "status": "RESTARTING", "next_action": "CLAUDE_CODE_RESTART", "infrastructure_mode": "GUARDED_CONTINUOUS",
            "v": 1, "scope": f"tmux-default-p{i}", "fleet": "default", "session": f"{i:08x}-0000-4000-8000-000000000000",
            "event": "Stop", "verdict": "admit", "reason": "admitted", "retry_after_ms": None, "attempts": 1,
            "strikes": 0, "store": "embedded", "degraded": 0, "host": HOST}


def stored(own, scope):
    """A session and the `stop` class of its scope, as both stores hold them."""
    own, scope = dict(own, begun=BORN), dict(scope)
    if "rest" in own:
        kind, since, until, topic = own["rest"]
        own["rest"] = {"kind": kind, "since": since, "until": until, "topic": topic}
    if "cooldown" in scope:
        start, end = scope["cooldown"]
        scope["cooldown"] = {"start": start, "end": end}
    return own, scope


def files(state):
    """The state folder of the embedded store."""
    def write(kind, name, whole):
        hash = 0x811C9DC5
        for byte in name.encode():
            hash = (hash ^ byte) * 0x01000193 & 0xFFFFFFFF
        part = hash ^ hash >> 8 ^ hash >> 16 ^ hash >> 24
        file = state / "frosty/default" / kind / f"{part & 0xFF:02x}" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_text(json.dumps(whole))

    for id, own, scope in sessions():
        own, scope = stored(own, scope)
        write("scopes", own["scope"], {"v": 1, "scope": {"stop": scope}})
        write("sessions", id, {"v": 1, "session": own})
    with (state / "frosty/default/journal.jsonl").open("w") as journal:
        for n, (ms, entry) in enumerate(entries()):
            journal.write(json.dumps(entry | {"ms": ms, "id": f"{n:016x}"}, separators=(",", ":")) + "\n")


def words(*args):
    parts = [str(a).encode() for a in args]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def document(fields):
    """A document as the server holds it."""
    return json.dumps({"version": "1-stop", "format": 1} | fields, separators=(",", ":"))


def fill(port):
    """The same on a server, in one write."""
    out = []
    pre = "frosty:{default}:"
    for id, own, scope in sessions():
        own, scope = stored(own, scope)
        admitted, attempts = scope.pop("admitted_at"), scope.pop("attempts")
        out.append(words("SET", f"{pre}doc:session:{id}", document(own)))
        out.append(words("SET", f"{pre}doc:scope:{own['scope']}", document({"stop": scope})))
        out.append(words("ZADD", f"{pre}admissions:scope:{own['scope']}", admitted, f"{admitted}-stop-1"))
        out.append(words("ZADD", f"{pre}attempts:scope:{own['scope']}", attempts[0], f"{attempts[0]}-stop"))
        names = {key: own[key] for key in ("scope", "name", "label")} | {"seen": 0}
        out.append(words("ZADD", f"{pre}sessions", own["seen"], f"{id} {json.dumps(names, separators=(',', ':'))}"))
        out.append(words("ZADD", f"{pre}scopes", own["seen"], own["scope"]))
    for ms, entry in entries():
        fields = [x if x is not None else "" for pair in entry.items() for x in pair]
        out.append(words("XADD", "torch.continuous.ops", f"{ms}-0", *fields))
    with socket.create_connection(("127.0.0.1", port)) as server:
        server.sendall(b"".join(out) + words("PING"))
        answers = b""
        while not answers.endswith(b"+PONG\r\n"):
            answers = answers[-20:] + server.recv(1 << 16)


def measure(what, frosty, env, *command):
    """Without a command: `status`."""
    took, worked = [], []
    for n in range(RUNS + 1):
        # Each time another session, of those that rest.
        words = [word.format(n=8 * n + 1) for word in command] or ["status"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        done = subprocess.run([frosty, *words], env=env, cwd=env["HOME"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True)
        took.append((time.perf_counter() - start) * 1000)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        worked.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
        lines = done.stdout.splitlines()
        assert done.returncode == 0, (words, done.stderr, lines[:3])
        if not command:
            assert f"{SESSIONS} sessions:" in done.stdout, lines[:3]
            assert sum("agent-" in line for line in lines) == SESSIONS
    took = sorted(took[1:])
    print(f"{what:26} median {statistics.median(took):6.1f} ms   fastest {took[0]:6.1f}   slowest {took[-1]:6.1f}   "
          f"of its own work {statistics.median(worked[1:]):6.1f}")
    if not command:
        print(f"           {lines[1]}")


def main():
    root = Path(__file__).resolve().parents[1]
    frosty = str(Path(sys.argv[1] if len(sys.argv) > 1 else root / "target/release/frosty").resolve())
    home = Path(tempfile.mkdtemp(prefix="frosty-5000-"))
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "XDG_STATE_HOME": str(home / "state")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""], cwd=home,
                              stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.02)
        fill(port)
        files(home / "state")
        print(f"{SESSIONS:,} sessions, {ENTRIES:,} journal entries of the last hour, {RUNS} runs each")
        # Each with a state folder of its own: what one has in files would be sent to the other.
        stores = {"server": env | {"FROSTY_STORE": f"redis://127.0.0.1:{port}", "XDG_STATE_HOME": str(home / "server")},
                  "embedded": env | {"FROSTY_STORE": "embedded"}}
        for store, env in stores.items():
            measure(f"status, {store}", frosty, env)
        for store, env in stores.items():
            measure(f"explain NAME, {store}", frosty, env, "explain", "agent-{n}")
            measure(f"wake NAME, {store}", frosty, env, "wake", "agent-{n}")
            measure(f"wake SCOPE, {store}", frosty, env, "wake", "tmux-default-p{n}")
            measure(f"wake ID PREFIX, {store}", frosty, env, "wake", "{n:08x}")
            measure(f"hold LABEL, {store}", frosty, env, "hold", "night:{n}", "--for", "20s")
        for store, env in stores.items():
            measure(f"wake --all, {store}", frosty, env, "wake", "--all")
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(home, ignore_errors=True)


main()
