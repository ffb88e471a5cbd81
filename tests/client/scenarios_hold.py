"""Installed as a person would, and held from another terminal."""
from bench import check
from stub import text

POLICY = {"stop": {"min_interval": "1s"}}


def _install(b, *args):
    code, out = b.home.frosty("install", *args)
    check(code == 0, f"frosty install {args}: exit {code}: {out}")
    return out


def held_from_another_terminal(b):
    """A looping agent: no call in a hold of everything, back by itself when it is over, and asked why it was held."""
    b.start(lambda c: text(f"Reply {c.n}: still at it."), POLICY, engine="none")
    _install(b)
    b.open().say("Go.")
    b.stub.wait(3, 40, "the loop")
    lasts = 20 if b.long else 8
    code, out = b.home.frosty("hold", "--for", f"{lasts}s", "--reason", "the key is shared today")
    check(code == 0, f"frosty hold: exit {code}: {out}")
    b.say(out.strip().splitlines()[0])
    held = b.until(lambda: [e for e in b.journal.entries() if e.event == "Hold"], 10, "the hold in the journal")[0].ms
    # By the store's times. What was admitted before is called: the turn that runs is finished.
    b.until(lambda: b.journal.admissions()[-1].ms > held, lasts + 20, "back by itself")
    admitted = [e.ms - held for e in b.journal.admissions()]
    first = [a > 0 for a in admitted].index(True)
    b.say(f"{first} admissions before the hold, the next {admitted[first]} ms after it began")
    check(admitted[first] >= lasts * 1000, f"admitted again after {admitted[first]} ms")
    before = first + 1
    back = b.stub.wait(before + 1, 20, "the call of it")[before]
    check("the key is shared today" in back.last and "reflect in two or three sentences" in back.last,
          f"no cue in the request: …{back.last[-400:]}")
    b.stub.wait(before + 2, 20, "and goes on")
    check("reflect" not in b.stub.main()[before + 1].last, "the cue came twice")


SCENARIOS = [held_from_another_terminal]
