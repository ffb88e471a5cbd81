"""Routes that start background sessions, by the real client."""
import json
import subprocess
import time

import procs
from bench import check, waits
from home import client, frosty
from stub import error, text

IDLE = 2


def _dispatchers(b, n, **route):
    """Dispatchers that run until the scenario ends, with `claude` on their path."""
    (b.home.path / "bin").mkdir()
    (b.home.path / "bin/claude").symlink_to(client())
    b.home.env["PATH"] = f"{b.home.path / 'bin'}:{b.home.env['PATH']}"
    b.home.set_policy(routes=[{"to": "echo", "session": "background", "folder": str(b.home.project), **route}])
    for _ in range(n):
        log = open(b.home.path / "dispatch.log", "a")
        # It ends with the home, as all that runs there does.
        subprocess.Popen([frosty(), "dispatch"], cwd=b.home.path, env=b.home.env, stdin=subprocess.DEVNULL,
                         stdout=log, stderr=log)


def _add(b, task):
    code, out = b.home.frosty("work", "add", "--to", "echo", task)
    check(code == 0, out)
    return out.split()[1]


def _log(b):
    return (b.home.path / "dispatch.log").read_text()


@waits
def route_starts_a_background_session(b):
    """Two dispatchers race, one session works through both entries, is stopped when idle, and is started again by work."""
    b.start(lambda c: text("Well done.\n\nfrosty: done"), {"stop": {"min_interval": "0s", "burst": None}}, server=True)
    ids = [_add(b, "First task."), _add(b, "Second task.")]
    _dispatchers(b, 2, idle_stop=f"{IDLE}s", model="haiku", system_prompt="You are echo.")
    calls = b.stub.wait(2, 40, "both entries")
    check(len({c.session for c in calls}) == 1, f"the sessions {[c.session for c in calls]}")
    check("haiku" in calls[0].body["model"] and "You are echo." in json.dumps(calls[0].body["system"]), "model and system prompt")
    admitted = b.until(lambda: [e.work for e in b.journal.admissions() if e.work], 10, "the admissions")
    check(admitted == ids, f"admitted for {admitted}, not {ids}")
    b.until(lambda: "stopped an idle session of echo" in _log(b), 30, "the idle session is stopped")
    third = _add(b, "Third task.")
    calls = b.stub.wait(3, 40, "started again")
    check(calls[2].session != calls[0].session and "Third task." in calls[2].last, f"call 3: {calls[2]}")
    b.until(lambda: [e for e in b.journal.entries() if e.work_end == f"{third} done"], 20, "the third entry is done")
    b.quiet(1)
    started = _log(b).count("started a background session")
    check(started == 2, f"{started} sessions started: {_log(b)}")
    # One admission for each call: no prompt of a started session counts as a person's.
    check(len(b.journal.admissions()) == 3, f"{len(b.journal.admissions())} admissions for 3 calls")
    b.say(f"2 dispatchers started {started} sessions for 3 entries; {len(b.journal.admissions())} admissions")


@waits
def route_uses_its_second_key(b):
    """The first key is at its limit: its session is stopped, and a session with the second key does the entry."""
    keys = {}

    def script(c):
        keys[c.n] = c.key
        if c.key == "sk-ant-first":
            return error(429, "rate_limit_error", "You've hit your limit", x_should_retry="false",
                         anthropic_ratelimit_unified_status="rejected",
                         anthropic_ratelimit_unified_representative_claim="five_hour",
                         anthropic_ratelimit_unified_reset=str(int(time.time()) + 900))
        return text("Well done.\n\nfrosty: done")

    b.start(script, {"stop": {"min_interval": "0s", "burst": None}}, server=True)
    files = [b.home.path / f"{name}.key" for name in ("first", "second")]
    for path, key in zip(files, ("sk-ant-first", "sk-ant-second")):
        path.write_text(f"{key}\n")
        path.chmod(0o600)
    entry = _add(b, "A task.")
    _dispatchers(b, 1, keys=[str(path) for path in files])
    b.until(lambda: "sk-ant-second" in keys.values(), 40, "a call with the second key")
    b.until(lambda: [e for e in b.journal.entries() if e.work_end == f"{entry} done"], 20, "the entry is done")
    shown = b.home.frosty("config", "--json")[1] + json.dumps(b.journal.entries()) + _log(b)
    lines = " ".join(" ".join(procs.argv(p)) for p in procs.of_home(b.home.path))
    check("sk-ant-first" not in shown and "sk-ant-second" not in shown + lines, "a key is shown")
    check(f"passed {entry} of echo on to the fleet default-key2" in _log(b), _log(b))
    b.say(f"the keys of the calls: {list(keys.values())}")


@waits
def route_starts_a_print_session(b):
    """A child of the dispatcher does the entry, ends when it is idle, and its exit and its output are kept."""
    b.start(lambda c: text("Well done.\n\nfrosty: done"), {"stop": {"min_interval": "0s", "burst": None}})
    entry = _add(b, "A task.")
    _dispatchers(b, 1, session="print", idle_stop="1s")
    calls = b.stub.wait(1, 40, "the entry")
    check("A task." in calls[0].last, f"call 1: {calls[0]}")
    b.until(lambda: [e for e in b.journal.entries() if e.work_end == f"{entry} done"], 20, "the entry is done")
    b.until(lambda: "a print session of echo ended" in _log(b), 30, "the idle session is stopped")
    exits = b.until(lambda: [e.detail for e in b.journal.entries() if e.event == "Start" and ", output in " in (e.detail or "")
                             and "started" not in e.detail], 10, "its exit in the journal")
    b.quiet(1)
    check(len(b.stub.main()) == 1 and len(b.journal.admissions()) == 1, f"{len(b.journal.admissions())} admissions")
    b.say(f"1 call, 1 admission; {exits}")


SCENARIOS = [route_starts_a_print_session, route_starts_a_background_session, route_uses_its_second_key]
