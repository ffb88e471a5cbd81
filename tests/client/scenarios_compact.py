"""Compactions: three of the client's own pass, the fourth is blocked, a person's always passes."""
from bench import check
from stub import text, tool

FULL = 95000  # of the window set below


def compactions(b):
    """The API claims a nearly full window after every fifth step, so that the client compacts before the next.
    More often, and the client gives up by itself: it takes that for thrashing."""
    def script(c):
        if c.n > 21:
            return text("Done.")
        return tool("Bash", command=f"echo step {c.n}", tokens=FULL if c.n % 5 == 4 else None)

    b.start(script, {"stop": {"min_interval": "10m"}}, engine="plain", allow=["Bash"],
            env={"CLAUDE_CODE_AUTO_COMPACT_WINDOW": "100000"})
    t = b.open()
    t.say("Go.")
    b.stub.wait(22, 90, "the turn goes on after the blocked compaction")
    asked = [e for e in b.journal.entries() if e.event == "PreCompact"]
    passed = [e for e in asked if e.verdict == "admit"]
    blocked = [e for e in asked if e.verdict == "refuse"]
    summaries = len(b.stub.of("summary"))
    b.say(f"{len(passed)} passed, {len(blocked)} blocked ({blocked and blocked[0].reason}), {summaries} summaries asked for")
    check(len(passed) == 3 and summaries == 3, f"{len(passed)} passed, {summaries} summaries asked for, not 3")
    check([e.verdict for e in asked[:4]] == ["admit"] * 3 + ["refuse"], "it was not the fourth that was blocked")
    check(blocked[0].reason == "burst", f"blocked for {blocked[0].reason}")

    t.until(lambda s: "✻" in s, 30, "end of the turn")
    t.say("/compact")
    b.until(lambda: len(b.stub.of("summary")) == 4, 30, "a person's /compact asks for a summary")
    for c in b.stub.of("summary"):
        asked_for = str(c.body["messages"][-1]) + str(c.body.get("system"))
        check("frosty" not in asked_for.lower(), f"something of Frosty's stands in summary {c.n}")


SCENARIOS = [compactions]
