"""The server dies while an engine waits on it, and comes back."""
import time

from bench import check
from stub import text

WAIT = 6


def _killed(b, keeps):
    b.start(lambda c: text(f"Reply {c.n}."), {"stop": {"min_interval": f"{WAIT}s"}}, server=True, server_keeps=keeps)
    b.open().say("Go.")
    b.stub.wait(2, 30)
    b.waiting()
    before = {e["id"] for e in b.journal.entries()}
    b.server.kill()
    # Longer than the guard: it opens while nobody can be asked.
    b.quiet(WAIT + 2)
    check(len(b.engines()) == 1, f"{len(b.engines())} engines alive, not 1: it gave up")
    b.server.start()
    back = time.monotonic()
    call = b.stub.wait(3, 60, "the engine comes back with the server")[2]
    # Less than the guard after it: whatever comes now would be a second admission.
    b.quiet(3)
    fresh = [e for e in b.journal.admissions() if e["id"] not in before]
    b.say(f"back {call.at - back:.2f} s after the server, admitted {len(fresh)} time")
    check(len(fresh) == 1, f"{len(fresh)} admissions after the server's return")
    b.stub.wait(4, 40, "the loop goes on")
    check(min(b.journal.gaps()) >= WAIT * 1000, f"admissions {b.journal.gaps()} ms apart")


def server_killed(b):
    _killed(b, True)


def server_killed_and_emptied(b):
    _killed(b, False)


def done_on_an_emptied_server(b):
    """The engine tells the new server what the agent said: it rests on, and a wake-up finds it."""
    b.start(lambda c: text("All done.\n\nfrosty: done"), {"stop": {"min_interval": "2s"}}, server=True)
    b.open().say("Go.")
    session = b.stub.wait(1, 30)[0].session
    b.waiting()
    b.server.kill()
    b.quiet(2)
    b.server.start()
    # The new server knows nothing: a refusal in its journal is the engine's return.
    b.until(lambda: [e for e in b.journal.refusals("done") if e.store == "dragonfly"], 40, "the engine's return")
    b.quiet(4)
    code, out = b.home.frosty("wake", session)
    check(code == 0, f"frosty wake: exit {code}: {out}")
    b.stub.wait(2, 20, "woken")
    b.none_burnt(1)
    b.say("an emptied server is told of the rest: quiet, then woken once")


SCENARIOS = [server_killed, server_killed_and_emptied, done_on_an_emptied_server]
