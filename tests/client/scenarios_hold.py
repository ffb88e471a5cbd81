"""Installed as a person would, and held from another terminal."""
import time

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
    held = time.monotonic()
    check(code == 0, f"frosty hold: exit {code}: {out}")
    b.say(out.strip().splitlines()[0])
    # The turn that runs is finished.
    time.sleep(1.5)
    b.quiet(lasts - 3)
    before = len(b.stub.main())
    back = b.stub.wait(before + 1, 20, "back by itself")[before]
    b.say(f"{before} calls before the hold was over, the next {back.at - held:.2f} s after it began")
    check(back.at - held >= lasts - 0.1, f"called again after {back.at - held:.2f} s")
    check("the key is shared today" in back.last and "reflect in two or three sentences" in back.last,
          f"no cue in the request: …{back.last[-400:]}")
    b.stub.wait(before + 2, 20, "and goes on")
    check("reflect" not in b.stub.main()[before + 1].last, "the cue came twice")


SCENARIOS = [held_from_another_terminal]
