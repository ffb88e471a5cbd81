"""Idle backoff and subagents: their work is no idleness, and their result ends an idle rest."""
import threading
import time

from bench import NotBegun, check
from stub import text, tool

INTERVAL = 150
# An idle rest that outlasts the scenario.
IDLE = {"base": "10m", "factor": 2, "max": "1h", "looked_max": "10m"}
POLICY = {"stop": {"min_interval": f"{INTERVAL}ms", "burst": None}, "idle": IDLE}


class Delegating:
    """An agent with nothing to do, except that its second turn starts a subagent, and that it works on the result."""

    def __init__(self):
        # The answer of the subagent, and that of the third turn, are sent once these are set.
        self.subagent, self.third = threading.Event(), threading.Event()
        self.turn = 0
        # The calls with the result, the first one of a turn each.
        self.results = []

    def __call__(self, c):
        if "SUBTASK" in str(c.body["messages"][0]):
            return text("The answer is 42.", after=self.subagent)
        if c.tool_result:
            return text("It runs." if self.turn == 2 else "Worked on it.")
        self.turn += 1
        if "The answer is 42." in c.last:
            self.results.append(c)
            return tool("Bash", command="echo forty-two", description="x")
        if self.results:
            return text("frosty: done")
        if self.turn == 2:
            return tool("Agent", description="look", prompt="SUBTASK look", subagent_type="general-purpose", run_in_background=True)
        return text("Nothing to do.", after=self.third if self.turn == 3 else None)


def _delegated(b):
    """The agent is parked beside its subagent, and a wake-up has begun its third turn."""
    agent = Delegating()
    b.start(agent, POLICY, server=True, allow=["Bash", "Agent", "Task"])
    t = b.open()
    t.say("Go.")
    b.until(lambda: b.journal.refusals("parked"), 60, "parked beside the subagent")
    code, out = b.home.frosty("wake", b.stub.main()[0].session)
    check(code == 0, out)
    b.until(lambda: agent.turn == 3, 30, "the third turn")
    return agent, t


def _works_on_the_result(b, agent):
    """The agent receives the result once, and its next Stop event waits for the minimum interval alone."""
    b.until(lambda: b.journal.refusals("done"), 60, "`done` in the journal")
    check(len(agent.results) == 1, f"the result came {len(agent.results)} times")
    entries, came = b.journal.entries(), agent.results[0].ms
    stops = [e for e in entries if e.event == "Stop" and e.ms >= came and e.reason != "superseded"]
    reasons = [e.reason for e in stops]
    # The prompt of the client's own that contained the result.
    prompt = [e.ms for e in entries if e.event == "UserPromptSubmit" and e.ms <= came][-1]
    b.say(f"after the result: {', '.join(reasons)}; admitted {stops[0].ms - prompt} ms after its prompt")
    check(stops[0].outcome == "worked", f"the turn with the result: {stops[0].outcome}")
    check([r for r in reasons if r != "min_interval"] == ["admitted", "done"], f"after the result: {reasons}")


def a_running_subagent_is_no_idleness(b):
    """Stop events while a subagent runs are parked, even after an empty turn, and never idle."""
    agent, _ = _delegated(b)
    agent.third.set()
    parked = b.until(lambda: b.journal.refusals("parked")[1:], 30, "parked again")
    check(parked[0].outcome in (None, "", "empty"), f"the third turn: {parked[0].outcome}")
    b.quiet(2)
    agent.subagent.set()
    _works_on_the_result(b, agent)
    idle = b.journal.refusals("idle")
    b.say(f"{len(b.journal.refusals('parked'))} Stop events beside the subagent parked, {len(idle)} idle")
    check(len(b.journal.refusals("parked")) == 2 and not idle, f"{len(idle)} idle rests")


def a_subagents_result_ends_an_idle_rest(b):
    """The result is held by an open dialog of the client until the agent rests as idle."""
    agent, t = _delegated(b)
    t.type("/config")
    t.key("Enter")
    t.until(lambda s: "Search settings" in s, 30, "dialog")
    agent.subagent.set()
    b.until(lambda: _subagent_ended(b), 30, "the end of the subagent")
    agent.third.set()
    b.until(lambda: b.journal.refusals("idle") or b.journal.refusals("parked")[1:], 30, "an idle rest")
    if b.journal.refusals("parked")[1:]:
        raise NotBegun("the client still listed the subagent as running")
    rest = b.journal.refusals("idle")[0]
    b.quiet(2)
    check(not agent.results, "the result came before the rest")

    # The first Escape leaves the search, the second one the dialog. A third one would end the turn that begins then.
    pressed = []

    def closed(screen):
        if "Search settings" in screen and (not pressed or time.monotonic() - pressed[-1] > 3):
            pressed.append(time.monotonic())
            t.key("Escape")
        return "Search settings" not in screen
    t.until(closed, 30, "closed dialog")
    _works_on_the_result(b, agent)
    b.say(f"idle rest of {rest.retry_after_ms} ms, ended by the result {agent.results[0].ms - rest.ms} ms after it began")
    check(len(b.journal.refusals("idle")) == 1, f"{len(b.journal.refusals('idle'))} idle rests")


def _subagent_ended(b):
    """Whether the client has ended the subagent: its transcript ends in its answer."""
    files = list((b.home.path / ".claude/projects").glob("*/*/subagents/*.jsonl"))
    return any("The answer is 42." in file.read_text() for file in files)


SCENARIOS = [a_running_subagent_is_no_idleness, a_subagents_result_ends_an_idle_rest]
