"""Installed as a person would, and held from another terminal."""
import json
import time

from bench import check
from stub import text

POLICY = {"stop": {"min_interval": "1s"}}


def _install(b, *args):
    code, out = b.home.frosty("install", *args)
    check(code == 0, f"frosty install {args}: exit {code}: {out}")
    return out


def _elsewhere(b):
    """Another project of the same home, which nobody put Frosty into."""
    other = b.home.path / "other"
    (other / ".claude").mkdir(parents=True)
    known = json.loads((b.home.path / ".claude.json").read_text())
    known["projects"][str(other)] = known["projects"][str(b.home.project)]
    (b.home.path / ".claude.json").write_text(json.dumps(known))
    return other


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


def a_project_without_it_is_left_alone(b):
    b.start(lambda c: text(f"Reply {c.n}."), POLICY, engine="none")
    _install(b)
    other = _elsewhere(b)
    b.home.project, installed = other, b.home.project
    t = b.open()
    t.say("Go.")
    b.stub.wait(1, 30)
    b.quiet(5)
    check(not b.journal.entries(), f"journaled in a project without Frosty: {b.journal.tail()}")
    check(not list((other / ".claude").iterdir()), "something was written there")
    b.say("one call, no continuation, nothing written")
    b.home.project = installed


def for_the_user_only_when_armed(b):
    """A registration for all projects continues nobody that was not armed."""
    b.start(lambda c: text(f"Reply {c.n}."), POLICY, engine="none")
    _install(b, "--user")
    t = b.open()
    t.say("Go.")
    session = b.stub.wait(1, 30)[0].session
    b.quiet(5)
    check(not b.journal.entries(), f"journaled: {b.journal.tail()}")
    code, out = b.home.frosty("on", "--session", session)
    check(code == 0, f"frosty on: exit {code}: {out}")
    t.say("Go on.")
    b.stub.wait(4, 30, "continued once it was armed")
    code, out = b.home.frosty("off", "--session", session)
    check(code == 0, f"frosty off: exit {code}: {out}")
    b.say("not continued until `frosty on`")


SCENARIOS = [held_from_another_terminal, a_project_without_it_is_left_alone, for_the_user_only_when_armed]
