"""A session belongs to one client process: other windows on it, background sessions, forks, and a client that was killed."""
import json
import os
import signal
import subprocess
import time

import procs
from bench import check
from home import client
from stub import text

POLICY = {"stop": {"min_interval": "2s"}}
QUICK = {"stop": {"min_interval": "2s"}, "resume_after": "4s"}


def _waiting(b, **start):
    """An engine waits with an agent that rests for long."""
    b.start(lambda c: text(f"Reply {c.n}.\n\nfrosty: next_check 1h"), POLICY, **start)
    t = b.open()
    t.say("Go.")
    session = b.stub.wait(1, 30)[0].session
    return t, b.waiting(), session


def _goes_on(b, engine, session):
    """The engine stayed, and wakes its own window."""
    check(b.engines() == [engine], f"engines {b.engines()}, not {engine}")
    calls = len(b.stub.main())
    code, out = b.home.frosty("wake", session)
    check(code == 0 and "woke" in out, f"frosty wake: exit {code}: {out}")
    b.stub.wait(calls + 1, 30, "the continuation of the first window")
    b.none_burnt(1)


def _viewed(b, **start):
    first, engine, session = _waiting(b, **start)
    second = b.open("--continue")
    time.sleep(1)
    check(b.engines() == [engine], f"opened beside it: engines {b.engines()}, not {engine}")
    second.say("/exit")
    second.gone()
    _goes_on(b, engine, session)
    b.say("a second window was opened and left by /exit: the engine of the first went on")


def second_window_opened_and_left(b):
    _viewed(b, server=True)


def second_window_opened_and_left_without_a_server(b):
    _viewed(b)


def _print_beside(b, on):
    first, engine, session = _waiting(b)
    b.home.print_mode("--continue", "hello from cron", env={"FROSTY_ON": on} if on else {})
    beside = [c for c in b.stub.main() if "hello from cron" in c.last]
    check(len(beside) == 1 and beside[0].session == session, f"{len(beside)} calls of {[c.session for c in beside]}")
    _goes_on(b, engine, session)
    b.say(f"claude -p --continue with FROSTY_ON={on}: 1 call, the engine of the window went on")


def print_run_of_the_same_session(b):
    _print_beside(b, None)


def armed_print_run_of_the_same_session(b):
    _print_beside(b, "print")


def prompt_in_a_second_window(b):
    first, engine, session = _waiting(b)
    second = b.open("--continue")
    second.say("From here on.")
    b.until(lambda: engine not in b.engines(), 20, "the engine of the first window leaves")
    calls = b.stub.wait(2, 40, "the prompt of the second window")
    # The engine of the first window may be refused besides, as it leaves.
    b.until(lambda: len(b.journal.refusals("rest")) >= 2, 20, "the second window rests")
    check(len(b.engines()) == 1, f"engines {b.engines()}, not one")
    shown = json.loads(b.home.frosty("status", "--json")[1])["sessions"]
    check([s["scope"] for s in shown] == [second.scope], f"status shows {[s['scope'] for s in shown]}")
    b.say("a prompt in the second window: one engine, in the second window, as status shows")


def background_session_loops(b):
    b.start(lambda c: text(f"Reply {c.n}."), QUICK)
    done = subprocess.run([client(), "--bg", "--name", "nova", "Go."], cwd=b.home.project, env=b.home.env,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    check(done.returncode == 0, f"--bg: {done.stdout}{done.stderr}")
    b.stub.wait(4, 90, "three continuations in the background")
    gaps = b.journal.gaps()
    b.say(f"claude --bg: {len(b.stub.main())} calls, admissions {gaps} ms apart")
    check(min(gaps) >= 2000, f"admissions {gaps} ms apart")


def _forked(b, script):
    """The conversation is moved to the background, and the window shows it there. Its old and its new session."""
    b.start(script, QUICK)
    t = b.open()
    t.say("Go.")
    old = b.stub.wait(2, 30)[0].session
    t.key("Left")
    t.until(lambda s: "moved to the background" in s, 30, "list of agents")
    fork = b.until(lambda: _continued_in(b, old), 30, "the client's record of the fork")
    t.key("Enter")
    # Into a process of its own (`spawned`), or into one that already runs (`claimed-spare`): only the hook shows it.
    b.until(lambda: [e for e in b.journal.entries() if e.event == "SessionStart" and e.session == fork], 60, "the fork begins")
    b.say(next(line for line in (b.home.path / ".claude/daemon.log").read_text().splitlines() if fork[:8] in line))
    return t, old, fork


def _continued_in(b, session):
    """The session that continues this one, by the transcript."""
    for file in (b.home.path / ".claude/projects").glob(f"*/{session}.jsonl"):
        # A line being written has no end yet.
        for entry in map(json.loads, file.read_text().split("\n")[:-1]):
            if entry["type"] == "continued-in":
                return entry["continuedInSessionId"]
    return None


def fork_goes_on(b):
    t, old, fork = _forked(b, lambda c: text(f"Reply {c.n}."))

    def typed():
        return [n for n, c in enumerate(b.stub.main(fork), 1) if "A typed prompt." in c.last]

    b.stub.wait(2, 60, "the loop goes on in the fork", session=fork)
    t.until(lambda s: "❯" in s and "describe a task" not in s, 30, "prompt box of the fork")
    t.say("A typed prompt.")
    b.until(typed, 30, "the typed prompt")
    b.stub.wait(typed()[0] + 1, 60, "the loop goes on after a typed prompt", session=fork)
    shown = json.loads(b.home.frosty("status", "--json")[1])["sessions"]
    check(old not in [s["id"] for s in shown], f"the session that the fork left is shown: {shown}")
    b.say("after the key <-: the fork goes on by itself, and after a typed prompt")


def fork_rests(b):
    first = []

    def script(c):
        first.append(c.session)
        return text(f"Reply {c.n}." if c.session == first[0] else f"Reply {c.n}.\n\nfrosty: next_check 5s")

    _, _, fork = _forked(b, script)
    calls = b.stub.wait(2, 60, "back after its rest in the fork", session=fork)
    rested = calls[1].at - calls[0].at
    b.say(f"next_check 5s in the fork: back after {rested:.1f} s")
    check(rested >= 5, f"back after {rested:.1f} s")


def _killed(b):
    b.start(lambda c: text(f"Reply {c.n}."), {**QUICK, "stop": {"min_interval": "30s"}})
    t = b.open()
    t.say("Go.")
    session = b.stub.wait(2, 30)[0].session
    b.waiting()
    os.kill(t.pid, signal.SIGKILL)
    t.gone()
    b.no_engine()
    return session


def killed_client_resumes(b):
    session = _killed(b)
    t = b.open("--resume", session)
    t.until(lambda s: "resumes in" in s, 20, "announcement")
    b.stub.wait(3, 30, "resumed by itself")
    check("the client ended" in b.stub.main()[-1].last, f"prompt: …{b.stub.main()[-1].last[-300:]}")
    b.say("kill -9 and --resume: announced, and resumed by itself")


def prompt_cancels_the_resumption(b):
    session = _killed(b)
    # Enough for a person to type in, also where the client is slow.
    seconds = max(4, round(2.5 * b.pace))
    b.home.set_policy(resume_after=f"{seconds}s")
    t = b.open("--resume", session)
    t.say("No, wait.")
    call = b.stub.wait(3, 20, "the person's prompt")[2]
    check("No, wait." in call.last, f"call 3 is not the person's: …{call.last[-300:]}")
    time.sleep(seconds + 2)
    resumed = [e for e in b.journal.admissions() if e.event == "SessionStart"]
    check(not resumed, f"resumed all the same: {resumed}")
    b.say("a prompt cancels the resumption")


def left_by_exit_does_not_resume(b):
    t, _, session = _waiting(b)
    t.say("/exit")
    t.gone()
    b.open("--resume", session)
    b.quiet(8)
    check(not b.engines(), "an engine waits for a session that was only opened")
    b.say("/exit and --resume: nothing resumes")


SCENARIOS = [second_window_opened_and_left, second_window_opened_and_left_without_a_server,
             print_run_of_the_same_session, armed_print_run_of_the_same_session, prompt_in_a_second_window,
             background_session_loops, fork_goes_on, fork_rests, killed_client_resumes,
             prompt_cancels_the_resumption, left_by_exit_does_not_resume]
