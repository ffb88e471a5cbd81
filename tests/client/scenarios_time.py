"""Unattended sessions: what was never asked to go on is not held up."""
from statistics import median

from bench import check
from home import Home
from stub import text

ALLOWED = 0.5


def print_mode_is_not_held_up(b):
    b.start(lambda c: text("Hello."))
    bare = b.keep(Home(b.stub, {}, engine="none"))
    kinds = {"without": (bare, {}), "installed": (b.home, {}), "with FROSTY_ON=1": (b.home, {"FROSTY_ON": "1"})}
    bare.print_mode("hi")  # the first of all reads the client from the disk
    taken = {kind: [] for kind in kinds}
    # In turns, so that what else the machine does falls on all alike; more of them where it still did not. The quickest of
    # each kind counts: what holds a client up holds up every run of it.
    for rounds in (5 if b.long else 2), 3, 5:
        for _ in range(rounds):
            for kind, (home, env) in kinds.items():
                before = len(b.stub.main())
                code, out, seconds = home.print_mode("hi", env=env, timeout=40)
                check(code == 0 and len(b.stub.main()) == before + 1,
                      f"{kind}: exit {code}, {len(b.stub.main()) - before} calls, {seconds:.1f} s: {out}")
                taken[kind].append(seconds)
        least = {kind: min(t) for kind, t in taken.items()}
        over = max(least.values()) - least["without"]
        allowed = max(ALLOWED, least["without"] / 2)
        if over <= allowed:
            break
    runs = len(taken["without"])
    for name, of in (("median", median), ("quickest", min)):
        b.say(f"claude -p hi, {name} of {runs}: " + ", ".join(f"{k} {of(t):.3f} s" for k, t in taken.items()))
    check(over <= allowed, f"held up for {over:.2f} s")
    check(not b.journal.admissions(), "something was admitted")


def print_mode_that_goes_on(b):
    def script(c):
        return text(f"Reply {c.n}." if c.n < 4 else "All done.\n\nfrosty: done")

    b.start(script, {"stop": {"min_interval": "1s"}, "print_wait": "5s"}, env={"FROSTY_ON": "print"})
    code, out, seconds = b.home.print_mode("hi", timeout=90)
    calls = b.stub.main()
    b.say(f"FROSTY_ON=print: {len(calls)} calls, exit {code}, {seconds:.1f} s")
    check(code == 0, f"exit {code}: {out}")
    check(len(calls) == 4, f"{len(calls)} calls, not 4")
    check(min(b.journal.gaps()) >= 1000, f"admissions {b.journal.gaps()} ms apart")
    b.none_burnt(3)


SCENARIOS = [print_mode_that_goes_on, print_mode_is_not_held_up]
