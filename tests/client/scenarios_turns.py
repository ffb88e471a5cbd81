"""Measured turns: the outcome and the tokens of each turn, read from the client's transcript."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import home
from bench import check
from stub import error, text, tool

TURNS = 50
POLICY = {"stop": {"min_interval": "200ms", "burst": None}}


class Load:
    """A process that keeps a core busy."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", "while True: pass"])

    def close(self):
        self.process.kill()
        self.process.wait()


def slowed():
    """The continuous engine, with a Python hook beside it on each Stop event."""
    settings = home.continuous()
    slow = {"type": "command", "command": "python3", "args": ["-c", "import time; time.sleep(0.1)"], "timeout": 10}
    settings["hooks"]["Stop"].append({"hooks": [slow]})
    return settings


def word(n):
    # Digits do not distinguish two commands.
    return "".join(chr(ord("a") + int(digit)) for digit in str(n))


def expected(turn):
    """Every third turn runs a new command, the next one the same as ever, and the one after that none."""
    return {1: "worked", 2: "looked" if turn > 2 else "worked", 0: "empty"}[turn % 3]


def turns_under_load(b):
    """Each of 50 turns has the right outcome, and the tokens of all turns are those of the API."""
    b.keep(Load())
    sent = []

    def script(c):
        tokens = 1000 + 7 * c.n
        sent.append(tokens)
        turn = script.turn = script.turn + (0 if c.tool_result else 1)
        if not c.tool_result and turn % 3:
            return tool("Bash", tokens=tokens, command=f"echo {word(turn) if turn % 3 == 1 else 'same'}", description="x")
        return text(f"Reply {turn}." + ("\n\nfrosty: done" if turn >= TURNS else ""), tokens=tokens)

    script.turn = 0
    b.start(script, POLICY, engine=slowed, allow=["Bash"])
    b.open().say("Go.")
    b.until(lambda: b.journal.refusals("done"), 300, "`done` in the journal")
    measured = [e for e in b.journal.entries() if e.outcome]
    outcomes = [e.outcome for e in measured]
    wrong = [(n, got, expected(n)) for n, got in enumerate(outcomes, 1) if got != expected(n)]
    origins = sorted({str(e.turn) for e in measured})
    sums = {field: sum(int(e.get(field) or 0) for e in measured) for field in ("tokens_in", "tokens_out", "requests", "tools")}
    b.say(f"{len(measured)} turns, {len(wrong)} wrong, origins {origins}, {sums}; the API sent {sum(sent)} in {len(sent)} calls")
    check(len(measured) == TURNS and not wrong, f"outcomes: {wrong or len(measured)}")
    check(sums["tokens_in"] == sum(sent), f"{sums['tokens_in']} tokens of input, the API counted {sum(sent)}")
    check(sums["tokens_out"] == 8 * len(sent), f"{sums['tokens_out']} tokens of output, the API counted {8 * len(sent)}")
    check(sums["requests"] == len(sent), f"{sums['requests']} requests, the API had {len(sent)}")
    b.none_burnt(TURNS - 1)


def turns(b, script, name, count, policy=POLICY, **start):
    """The entries of so many turns, of which the last ends in `done`. FROSTY_FIXTURES is a folder for the transcript."""
    b.start(script, policy, **start)
    b.open().say("Go.")
    b.until(lambda: b.journal.refusals("done"), 120, "`done` in the journal")
    found = [e for e in b.journal.entries() if e.outcome]
    keep_transcript(b, name)
    for e in found:
        b.say(f"{e.outcome} {e.turn}: {e.tools} tools, {e.requests} requests, {e.tokens_in} tokens of input")
    check(len(found) == count, f"{len(found)} measured turns, not {count}")
    return found


def keep_transcript(b, name):
    """Copies the transcript that was written last, where a folder for it is named."""
    keep = os.environ.get("FROSTY_FIXTURES")
    if keep:
        files = (b.home.path / ".claude/projects").glob("*/*.jsonl")
        shutil.copy(max(files, key=lambda file: file.stat().st_mtime), Path(keep) / f"{name}.jsonl")


def _calls_of_main_line(b):
    """The calls of the agent itself. A subagent's conversation begins with its own prompt."""
    return [c for c in b.stub.main() if "SUBTASK" not in str(c.body["messages"][0])]


def turn_of_100_tools(b):
    def script(c):
        return tool("Bash", tokens=1000, command=f"echo {word(c.n)}", description="x") if c.n <= 100 else text("frosty: done", tokens=1000)

    [e] = turns(b, script, "hundred-tools", 1, allow=["Bash"])
    check((e.outcome, e.tools, e.requests, e.tokens_in) == ("worked", 100, 101, 101000), f"{dict(e)}")


def turn_with_a_compaction(b):
    def script(c):
        if c.n > 6:
            return text("All done.\n\nfrosty: done")
        return tool("Bash", command=f"echo step {word(c.n)}", tokens=95000 if c.n == 4 else None)

    [e] = turns(b, script, "compaction-in-turn", 1, allow=["Bash"], env={"CLAUDE_CODE_AUTO_COMPACT_WINDOW": "100000"})
    check(len(b.stub.of("summary")) == 1, f"{len(b.stub.of('summary'))} summaries, not 1")
    check((e.outcome, e.turn, e.tools, e.requests) == ("worked", "human", 6, len(b.stub.main())), f"{dict(e)}")


def turn_with_a_subagent(b):
    def script(c):
        if "SUBTASK" in str(c.body["messages"][0]):
            return text("Subagent's answer.")
        if not c.tool_result:
            return tool("Agent", description="look", prompt="SUBTASK look around", subagent_type="general-purpose", run_in_background=False)
        return text("All done.\n\nfrosty: done")

    # Else the client may move the subagent to the background, and its result begins a turn of its own.
    env = {"CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1"}
    [e] = turns(b, script, "subagent-in-turn", 1, allow=["Agent", "Task"], env=env)
    own = len(_calls_of_main_line(b))
    check(len(b.stub.main()) > own, "no call of a subagent")
    check((e.outcome, e.tools, e.requests) == ("worked", 1, own), f"{own} calls, {dict(e)}")


def turn_after_an_api_error(b):
    """A failed turn is not measured: its tools and tokens belong to the next turn."""
    def script(c):
        if c.n in (1, 3):
            return tool("Bash", tokens=1000, command=f"echo {word(c.n)}", description="x")
        if c.n == 4:
            return error(529, "overloaded_error", "Overloaded", x_should_retry="false")
        return text("Begun." if c.n == 2 else "All done.\n\nfrosty: done", tokens=1000)

    first, e = turns(b, script, "api-error-in-turn", 2, allow=["Bash"], policy={**POLICY, "api_error": {"base": "1s", "max": "2s"}})
    check((first.outcome, first.tools, first.tokens_in) == ("worked", 1, 2000), f"{dict(first)}")
    check((e.outcome, e.tools, e.requests, e.tokens_in) == ("worked", 1, 2, 2000), f"{dict(e)}")


def turn_of_a_fork(b):
    """The turns of the parent are in the transcript of the fork too, and are not counted again."""
    def script(c):
        if "Fork it." in str(c.body["messages"]):
            return text("Forked.\n\nfrosty: done", tokens=50) if c.tool_result else tool("Bash", tokens=30, command="echo fork", description="x")
        if c.tool_result:
            return text("Begun." if c.n == 2 else "All done.\n\nfrosty: done", tokens=1000)
        return tool("Bash", tokens=1000, command=f"echo {word(c.n)}", description="x")

    b.start(script, POLICY, allow=["Bash"])
    parent = b.open()
    parent.say("Go.")
    b.until(lambda: b.journal.refusals("done"), 60, "`done` of the parent")
    parent.say("/exit")
    parent.gone()
    b.open("--continue", "--fork-session").say("Fork it.")
    b.until(lambda: b.journal.refusals("done")[1:], 60, "`done` of the fork")
    keep_transcript(b, "fork")
    found = [e for e in b.journal.entries() if e.outcome]
    facts = [(e.session == found[0].session, e.outcome, e.tools, e.requests, e.tokens_in) for e in found]
    b.say(f"parent and fork: {facts}")
    check(facts == [(True, "worked", 1, 2, 2000)] * 2 + [(False, "worked", 1, 2, 80)], f"{facts}")


SCENARIOS = [turn_of_a_fork, turns_under_load, turn_of_100_tools, turn_with_a_compaction, turn_with_a_subagent, turn_after_an_api_error]
