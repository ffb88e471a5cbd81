"""Questions between agents: one asks from its shell, the other is woken and replies from its own, and no person types."""
import re

from bench import check
from home import frosty
from scenarios_work import DONE, _agent, _begin, _result
from stub import text, tool


def _asked(c):
    """The id of the question that a call hands out."""
    found = re.search(r"Your next task is the question (\S+) of the owner's work queue \(normal, asked by the agent echo\)", c.last)
    return found and found[1]


def _ask_and_reply(b, server):
    results = []

    def script(c):
        if c.tool_result:
            results.append(_result(c))
            return text(DONE)
        if "Ask helix." in c.last:
            return tool("Bash", command=f"'{frosty()}' ask helix 'Which branch?' --timeout 60s", description="x")
        id = _asked(c)
        if id:
            return tool("Bash", command=f"'{frosty()}' reply {id} 'It is on main.'", description="x")
        return text("Nothing to do.")

    _begin(b, script, server, allow=["Bash"])
    _, echo = _agent(b)
    _, helix = _agent(b, env={"FROSTY_NAME": "helix"})
    code, out = b.home.frosty("work", "add", "--to", "echo", "Ask helix.")
    check(code == 0, f"work add: exit {code}: {out}")
    b.until(lambda: len(results) >= 2, 40, "the reply in the asker's shell")
    # The two commands end in either order.
    both = "\n".join(results[:2])
    check("replied to helix:" in both, f"helix: {both}")
    check("It is on main." in both and "an agent's text" in both, f"echo: {both}")
    handed = [c for c in b.stub.main(helix) if _asked(c)]
    check(len(handed) == 1 and "\n> Which branch?\n" in handed[0].last, f"handed out {len(handed)} times")
    check(not any(_asked(c) for c in b.stub.main(echo)), "the question came back to its author")
    b.none_burnt(2)
    b.say("one question, one reply, in the turn that asked")


def ask_and_reply(b):
    _ask_and_reply(b, True)


def ask_and_reply_without_a_server(b):
    _ask_and_reply(b, False)


SCENARIOS = [ask_and_reply, ask_and_reply_without_a_server]
