"""The agent has a say, and a signal ends its rest."""
import subprocess
import threading
import time

from bench import check
from stub import text, tool

POLICY = {"stop": {"min_interval": "2s"}}
NOTE = "the build is green again"
# A machine that is busy with other tests may start a program so much later, in ms.
LATE = 5000


def next_check(b):
    def script(c):
        if c.n == 2:
            return text("Nothing to do yet.\n\nfrosty: next_check 5s")
        return text("Going on." if c.n == 1 else "All done.\n\nfrosty: done")

    b.start(script, POLICY)
    b.open().say("Go.")
    calls = b.stub.wait(3, 60, "back after its nap")
    nap = calls[2].at - calls[1].at
    b.say(f"next_check 5s: quiet for {nap:.2f} s")
    check(nap >= 5.0, f"called again after {nap:.2f} s")
    # An admission long after its time would be another rule's.
    rest = b.until(lambda: b.journal.refusals("rest"), 10, "the rest in the journal")[0]
    at = b.journal.admissions()
    late = at[1].ms - (rest.ms + rest.retry_after_ms)
    check(len(at) == 2 and 0 <= late <= LATE, f"{len(at)} admissions, the second {late} ms after the rest was over")
    b.until(lambda: b.journal.refusals("done"), 30, "`done` in the journal")
    b.quiet(2)
    b.none_burnt(2)


def _done_then(b, wake, **start):
    """An agent that is done; `wake` sends the signal. Gives the call that follows, and both delays in ms."""
    b.start(lambda c: text(f"Reply {c.n}: all done.\n\nfrosty: done"), **start)
    t = b.open()
    t.say("Go.")
    b.stub.wait(1, 30)
    b.until(lambda: b.journal.refusals("done"), 30, "`done` in the journal")
    b.waiting()
    b.quiet(30 if b.long else 3)
    wake(t)
    sent = time.time_ns() // 1_000_000
    call = b.stub.wait(2, 20, "woken")[1]
    admitted = b.journal.admissions()[0].ms - sent
    b.say(f"done: quiet; woken: admitted {admitted} ms, at the API {call.ms - sent} ms after the signal was sent")
    b.until(lambda: len(b.journal.refusals("done")) >= 2, 30, "done again")
    b.quiet(2)
    check(len(b.stub.main()) == 2, "more than one continuation for one signal")
    b.none_burnt(1)
    return call, admitted


def _wake(b, *args):
    code, out = b.home.frosty("wake", *args)
    check(code == 0, f"frosty wake {args}: exit {code}: {out}")


def done_then_wake(b):
    call, admitted = _done_then(
        b, lambda t: _wake(b, b.stub.main()[0].session, "--note", NOTE), policy=POLICY, server=True)
    check(NOTE in call.last, f"the note is not in the prompt: …{call.last[-300:]}")
    check(admitted <= LATE, f"admitted {admitted} ms after the signal")


def done_then_wake_without_a_server(b):
    call, admitted = _done_then(
        b, lambda t: _wake(b, t.scope, "--note", NOTE), policy=POLICY)
    check(NOTE in call.last, f"the note is not in the prompt: …{call.last[-300:]}")
    # It looks at its files once a second.
    check(admitted <= 1000 + LATE, f"admitted {admitted} ms after the signal")


def done_then_anybodys_publish(b):
    def publish(_):
        done = subprocess.run(["redis-cli", "-p", str(b.server.port), "PUBLISH", "trigger.nova.alpha", "tests are green"],
                              capture_output=True, text=True, timeout=10)
        check(done.stdout.strip().isdigit() and int(done.stdout) >= 1, f"nobody listened: {done.stdout}{done.stderr}")

    _, admitted = _done_then(b, publish, policy={**POLICY, "name": "alpha"}, server=True)
    check(admitted <= LATE, f"admitted {admitted} ms after the signal")


def wake_during_a_turn(b):
    """A signal that comes before anybody listens is not lost, even if the turn then says `done`."""
    woken = threading.Event()
    b.start(lambda c: text(f"Reply {c.n}: all done.\n\nfrosty: done", after=woken if c.n == 1 else None), POLICY, server=True)
    b.open().say("Go.")
    _wake(b, b.stub.wait(1, 30)[0].session, "--note", NOTE)
    woken.set()
    call = b.stub.wait(2, 30, "the signal of the turn before")[1]
    check(NOTE in call.last, f"the note is not in the prompt: …{call.last[-300:]}")
    b.until(lambda: b.journal.refusals("done"), 30, "`done` in the journal")
    b.quiet(2)
    b.none_burnt(1)
    b.say("a signal sent during a turn that ended in `done`: one continuation, note included")


def not_understood(b):
    """A directive with a slip is answered, and gives no rest."""
    b.start(lambda c: text("frosty: next_chekc 5m" if c.n == 1 else "frosty: done"), POLICY)
    b.open().say("Go.")
    call = b.stub.wait(2, 30)[1]
    answer = call.last.split("frosty: next_check 20m")[-1]
    b.say("answered: " + " ".join(answer.replace("</system-reminder>", "").split()))
    check("next_chekc" in answer, "the slip is not answered")


def background_task(b):
    """A task that never ends parks the agent, but not for ever."""
    def script(c):
        if c.n == 1:
            return tool("Bash", command="sleep infinity", run_in_background=True)
        return text(f"Reply {c.n}.\n\nfrosty: done" if c.n > 2 else "It runs.")

    b.start(script, {**POLICY, "park_max": "3s"}, allow=["Bash"])
    b.open().say("Start the server.")
    calls = b.stub.wait(3, 60, "goes on after park_max")
    pause = calls[2].at - calls[1].at
    b.say(f"parked for {pause:.2f} s beside a `sleep infinity`")
    check(b.journal.refusals("parked"), "it was never parked")
    check(pause >= 3.0, f"went on after {pause:.2f} s")


SCENARIOS = [next_check, done_then_wake, done_then_wake_without_a_server, done_then_anybodys_publish, wake_during_a_turn,
             not_understood, background_task]
