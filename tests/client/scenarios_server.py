"""The server dies while an engine waits on it, and comes back."""
from bench import check
from stub import text

def _killed(b, keeps):
    b.start(lambda c: text(f"Reply {c.n}."), server=True, server_keeps=keeps)
    t = b.open()
    guard = b.guard(4)
    t.say("Go.")
    b.stub.wait(2, 30)
    b.waiting()
    b.server.kill()
    # The embedded store stands in: the loop goes on without a server, at its own pace.
    b.stub.wait(4, 60, "it goes on while the server is away")
    here = [e for e in b.journal.admissions() if e.store == "embedded"]
    check(len(here) >= 2 and all(int(e.degraded) == 1 for e in here), f"admitted by the stand-in: {here}")
    b.server.start()
    calls = len(b.stub.main())
    b.until(lambda: [e for e in b.journal.stream() if e.verdict == "admit" and e.store == "dragonfly"
                     and e.ms > here[-1].ms], 60, "the server decides again")
    b.stub.wait(calls + 2, 60, "the loop goes on")
    check(min(b.journal.gaps()) >= guard * 1000, f"admissions {b.journal.gaps()} ms apart, over both stores")
    local = [e["id"] for e in b.journal.entries() if int(e.degraded or 0) == 1]
    b.until(lambda: [e["id"] for e in b.journal.stream() if e["id"] in local] == local, 30,
            "what was decided without the server arrives there, in order, each once")
    b.say(f"{len(here)} continuations without the server; admissions at least {min(b.journal.gaps())} ms apart; "
          f"{len(local)} entries arrived")


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
