"""Measured turns: the outcome and the tokens of each turn, read from the client's transcript."""
import subprocess
import sys

import home
from bench import check
from stub import text, tool

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


SCENARIOS = [turns_under_load]
