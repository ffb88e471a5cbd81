"""The storm that started it all: an agent with nothing to do, answered at once, told to go on."""
import time

from bench import check
from home import old_script, synchronous
from procs import Watch
from stub import text
from terminal import box

GUARD = 2.0


def _free(t):
    """Whether a person could type: no hook is shown to run. A screen may be met while it is being drawn, or a hook while
    it is being started: it is taken only if it stays."""
    for _ in range(4):
        screen = t.screen()
        if "running stop hook" not in screen.lower() and box(screen) is not None:
            return True
        time.sleep(0.15)
    return False


def storm(b):
    seconds = 60 if b.long else 14
    # One at once, then one per guard. A machine that is busy with other tests needs longer for the least of the short run.
    least = 25 if b.long else 4
    b.start(lambda c: text(f"Reply {c.n}."), {"stop": {"min_interval": "2s"}})
    t = b.open()
    watch = Watch(b.home.path)
    t.say("Go.")
    first = b.stub.wait(1, 30)[0]
    looks, free = 0, 0
    while time.monotonic() < first.at + seconds or (len(b.stub.main()) < least and time.monotonic() < first.at + 150):
        if looks == 3:
            t.type("still with you")
        looks += 1
        free += _free(t)
        time.sleep(0.5)
    seconds = time.monotonic() - first.at
    calls = b.stub.main()
    most = 2 + seconds / GUARD
    engines, together = watch.stop()
    check(len(calls) > 2, f"only {len(calls)} calls in {seconds:.0f} s")
    gaps = [y.at - x.at for x, y in zip(calls[1:], calls[2:])]
    admitted = b.journal.gaps()
    b.say(f"Frosty, guard {GUARD:.0f} s: {len(calls)} calls in {seconds:.0f} s; gaps at the API {min(gaps):.3f} to {max(gaps):.3f} s; "
          f"admissions {min(admitted)} to {max(admitted)} ms apart")
    b.say(f"{engines} engines, two of them at once for {together:.2f} s at most; screen free in {free} of {looks} looks")
    check(least <= len(calls) <= most, f"{len(calls)} calls in {seconds:.0f} s, not {least} to {most:.0f}")
    check(min(admitted) >= 2000, f"two admissions {min(admitted)} ms apart")
    # A call that left late (a busy machine) stands nearer to the next: that much is its own, not the guard's.
    at = [e.ms for e in b.journal.admissions()]
    for x, y, admission in zip(calls[1:], calls[2:], at):
        late = max(0.0, (x.ms - admission) / 1000 - 0.1)
        check(y.at - x.at + late >= 1.9, f"calls {x.n} and {y.n} only {y.at - x.at:.3f} s apart")
    check(together <= 1.0, f"two engines alive together for {together:.2f} s")
    # An engine in the foreground would take it for most of each minimum interval. A busy machine may start one slowly.
    check(free >= 0.8 * looks, f"the screen was free in {free} of {looks} looks only")
    check("still with you" in t.screen(), "what was typed is not in the prompt box")


def storm_of_the_old_script(b):
    """The same agent under an unconditional exit 2. Nothing but the clock or the bound ends it."""
    seconds = 60 if b.long else 5
    bound = 100_000 if b.long else 3_000
    b.start(lambda c: text(f"Reply {c.n}.", delay=3600 if c.n > bound else 0), engine=old_script)
    t = b.open()
    t.say("Go.")
    first = b.stub.wait(1, 30)[0]
    # More than the client's own cap would let through.
    b.stub.wait(12, 30, "the storm that it stands for")
    time.sleep(max(0, first.at + seconds - time.monotonic()))
    b.home.end()
    calls = [c for c in b.stub.main() if c.at < first.at + seconds]
    b.say(f"unconditional exit 2, no cap: {len(calls)} calls in {seconds} s")


def twelve_without_tools(b):
    """The client's cap counts to 8; it does not count what an engine wakes."""
    b.start(lambda c: text(f"Reply {c.n}."), {"stop": {"min_interval": "500ms"}}, server=True)
    t = b.open()
    t.say("Go.")
    calls = b.stub.wait(13, 110, "12 continuations")
    gaps = b.journal.gaps()
    b.say(f"{calls[12].n - 1} continuations in {calls[12].at - calls[0].at:.1f} s, admissions at least {min(gaps)} ms apart")
    check(min(gaps) >= 500, f"two admissions {min(gaps)} ms apart")


def synchronous_wait(b):
    """Without asyncRewake and with the cap lifted the same engine throttles too; the screen then shows a running hook."""
    b.start(lambda c: text(f"Reply {c.n}."), {"stop": {"min_interval": "1s"}}, engine=synchronous)
    t = b.open()
    t.say("Go.")
    b.stub.wait(3, 30)
    t.until(lambda s: "running stop hook" in s.lower(), 20, "running Stop hook")
    calls = b.stub.wait(11, 110, "10 continuations")
    gaps = b.journal.gaps()
    b.say(f"{calls[10].n - 1} continuations in {calls[10].at - calls[0].at:.1f} s, admissions at least {min(gaps)} ms apart")
    check(min(gaps) >= 1000, f"two admissions {min(gaps)} ms apart")


SCENARIOS = [storm, storm_of_the_old_script, twelve_without_tools, synchronous_wait]
