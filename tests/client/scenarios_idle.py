"""Idle backoff: an agent that has nothing to do rests ever longer, and returns at once when there is something."""
import time

from bench import check, waits
from stub import text, tool

# A night of eight hours takes 288 s at 1:100, or 36 s at 1:800.
NIGHT = 8 * 3600
# The most calls of a night with nothing to do.
MOST = 14


def policy(scale, **more):
    seconds = lambda real: f"{round(real * 1000 / scale)}ms"
    idle = {"base": seconds(120), "factor": 2, "max": seconds(3600), "looked_max": seconds(600)}
    return {"stop": {"min_interval": "150ms", "burst": None}, "idle": idle, **more}


def _scale(b):
    return 100 if b.long else 800


def _night(b, script, given, seconds, **start):
    """The calls and the turns of so many seconds."""
    b.start(script, given, **start)
    b.open().say("Go.")
    b.stub.wait(1, 60)
    begun = time.monotonic()
    time.sleep(seconds)
    calls = [c for c in b.stub.main() if c.at < begun + seconds]
    return len(calls), len(b.journal.admissions()) + 1


@waits
def idle_night(b):
    """An agent with nothing to do."""
    scale = _scale(b)
    calls, _ = _night(b, lambda c: text("Nothing to do."), policy(scale), NIGHT / scale)
    b.say(f"a night at 1:{scale} with idle backoff: {calls} calls")
    check(calls <= MOST, f"{calls} calls in a night")
    check(b.journal.refusals("idle"), "no idle rest")


def idle_night_without(b):
    """The same agent without idle backoff: in a part of the night it makes more calls than with it in all of the night."""
    scale = _scale(b)
    night = NIGHT / scale
    b.start(lambda c: text("Nothing to do."), policy(scale, idle=None))
    b.open().say("Go.")
    calls = b.stub.wait(MOST + 1, night)
    took = calls[MOST].at - calls[0].at
    b.say(f"without idle backoff: {MOST + 1} calls in {took:.1f} s of a night of {night:.0f} s")
    check(took < night, "no more calls than with idle backoff")
    if b.long:
        time.sleep(max(0, night / 4 - took))
        b.say(f"a quarter of the night: {len([c for c in b.stub.main() if c.at < calls[0].at + night / 4])} calls")


@waits
def looking_night(b):
    """An agent that only looks: `git status` and `date` each turn."""
    def script(c):
        if c.tool_result:
            script.asked = not script.asked
            return tool("Bash", command="date", description="x") if script.asked else text("Nothing new.")
        script.asked = False
        return tool("Bash", command="git status", description="x")

    scale = _scale(b)
    calls, turns = _night(b, script, policy(scale), NIGHT / scale, allow=["Bash"])
    b.say(f"a night at 1:{scale}, `git status` and `date` each turn: {turns} turns, {calls} calls")
    # At most one turn each ten minutes, after the first three.
    check(turns <= 8 * 6 + 4, f"{turns} turns in a night")


def wake_from_an_idle_rest(b):
    """A wake-up in the longest rest: the agent works, and the streak starts again."""
    def script(c):
        if script.woken and not c.tool_result:
            script.woken = False
            return tool("Bash", command="echo work", description="x")
        return text("Done it." if c.tool_result else "Nothing to do.")

    script.woken = False
    b.start(script, policy(400), server=True, allow=["Bash"])
    b.open().say("Go.")
    b.until(lambda: [r for r in b.journal.refusals("idle") if r.retry_after_ms > 4000], 90, "a long idle rest")
    b.waiting()
    script.woken = True
    before, rests = len(b.stub.main()), len(b.journal.refusals("idle"))
    sent = time.monotonic()
    code, out = b.home.frosty("wake", b.stub.main()[0].session)
    check(code == 0, out)
    call = b.stub.wait(before + 1, 20, "woken")[before]
    b.say(f"woken from an idle rest: at the API after {call.at - sent:.2f} s")
    later = b.until(lambda: b.journal.refusals("idle")[rests:], 60, "the next idle rest")[0]
    b.say(f"the idle rest after the work: {later.retry_after_ms} ms")
    check(later.retry_after_ms <= 300, "the streak did not start again")


def work_is_not_slowed(b):
    """A tool in each turn, then long prose in each turn: no idle rest."""
    def script(c):
        if c.n > 40:
            return text("frosty: done")
        if c.n > 20:
            return text("word " * 700, out=700)
        words = "".join(chr(97 + int(d)) for d in str(c.n))
        return text("Done.") if c.tool_result else tool("Bash", command=f"echo {words}", description="x")

    b.start(script, policy(100), allow=["Bash"])
    b.open().say("Go.")
    b.until(lambda: b.journal.refusals("done"), 120, "`done` in the journal")
    idle = b.journal.refusals("idle")
    b.say(f"{len(b.journal.admissions())} continuations with work in each, {len(idle)} idle rests")
    check(not idle, f"{len(idle)} idle rests")


@waits
def a_poll_sees_the_new_result(b):
    """The same result 20 times, then another one: seen within the scaled ten minutes."""
    limit = 600 / 800

    def script(c):
        return text("Still red.") if c.tool_result else tool("Bash", command="cat result", description="x")

    b.start(script, policy(800), allow=["Bash"])
    result = b.home.project / "result"
    result.write_text("red\n")
    b.open().say("Go.")
    b.stub.wait(40, 120, "20 polls")
    changed = time.monotonic()
    result.write_text("green\n")
    seen = b.until(lambda: [c for c in b.stub.main() if c.at > changed and c.tool_result], 30, "the next poll")[0]
    b.say(f"the new result was seen after {seen.at - changed:.2f} s (a rest is at most {limit} s)")
    check(seen.at - changed <= limit + 5, "too late")
    check(b.journal.refusals("idle"), "no idle rest")


def many_tools_and_a_compaction_are_not_slowed(b):
    """A continuation of 100 tools with an automatic compaction, and a text at its end: no idle rest."""
    def script(c):
        if not c.tool_result and script.tools in (0, 100):
            script.turn += 1
            if script.turn != 2:
                return text("frosty: done" if script.turn == 3 else "Nothing to do.")
        if script.tools == 100:
            return text("All of it ran.")
        script.tools += 1
        words = "".join(chr(97 + int(d)) for d in str(script.tools))
        return tool("Bash", command=f"echo {words}", description="x", tokens=95000 if script.tools == 50 else 1000)

    script.turn = script.tools = 0
    b.start(script, policy(100), allow=["Bash"], env={"CLAUDE_CODE_AUTO_COMPACT_WINDOW": "100000"})
    b.open().say("Go.")
    b.until(lambda: b.journal.refusals("done"), 120, "`done` in the journal")
    turns = [(e.outcome, int(e.tools)) for e in b.journal.entries() if e.outcome]
    summaries, idle = len(b.stub.of("summary")), b.journal.refusals("idle")
    b.say(f"turns: {turns}, {summaries} compaction, {len(idle)} idle rests")
    check(summaries == 1, f"{summaries} compactions, not 1")
    check(turns[:2] == [("empty", 0), ("worked", 100)] and len(turns) == 3, f"turns: {turns}")
    check(not idle and len(b.journal.admissions()) == 2, f"{len(idle)} idle rests, {len(b.journal.admissions())} admissions")


SCENARIOS = [idle_night, idle_night_without, looking_night, wake_from_an_idle_rest, work_is_not_slowed,
             a_poll_sees_the_new_result, many_tools_and_a_compaction_are_not_slowed]
