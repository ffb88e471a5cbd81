"""Work queues: agents without a person claim their entries, keep them, and end them by their own words."""
import json
import os
import re
import signal
import threading
import time

from bench import check, waits
from home import frosty
from stub import last_message, text, tool

# Five minutes are 30 s here.
SCALE = 10
POLICY = {"work": "required", "stop": {"min_interval": "1500ms", "burst": {"limit": 3, "window": "2s"}}}
DONE = "Did it.\n\nfrosty: done"
# The longest time from an arrival to the admission of an agent that waits, in ms.
WOKEN = {True: 1000, False: 2000}


def _begin(b, script, server, policy=None, **home):
    """Agents of the name `echo`. A prompt on the command line starts each of them, and no key is pressed."""
    b.start(script, {**POLICY, **(policy or {})}, server=server, env={"FROSTY_NAME": "echo"}, **home)


def _agent(b, env=None):
    """One more agent, which has stopped, and its session. It waits for work."""
    before = {c.session for c in b.stub.main()}
    rests = len(b.journal.refusals("no_work"))
    terminal = b.open("Go.", env=env)
    session = b.until(lambda: {c.session for c in b.stub.main()} - before, 30, "the first call").pop()
    b.until(lambda: len(b.journal.refusals("no_work")) > rests, 30, "a rest until there is work")
    return terminal, session


def _add(b, words, *args, to="echo"):
    code, out = b.home.frosty("work", "add", "--to", to, *args, words)
    check(code == 0, f"work add: exit {code}: {out}")
    return out.split()[1]


def _shown(b, id):
    return b.home.frosty("work", "show", id)[1]


def _state(b, id, state):
    shown = _shown(b, id)
    check(f": {state} since" in shown, f"not {state}: {shown}")


def _handed(c):
    """The id of the entry that a call hands out."""
    found = re.search(r"Your next task is the entry (\S+) of the owner's work queue", c.last)
    return found and found[1]


def _in_hand(c):
    """The entry and the turn of a later turn."""
    found = re.search(r"In hand: (\S+) of the work queue, turn (\d+) of", c.last)
    return found and (found[1], int(found[2]))


def _ms(b, id, event, verdict):
    """When the journal has the first such event of an entry."""
    found = [e.ms for e in b.journal.entries() if e.work == id and e.event == event and e.verdict == verdict]
    return found[0] if found else None


def _took(b, id):
    """The time from the arrival of an entry to the admission that hands it out, in ms."""
    return b.until(lambda: _ms(b, id, "Stop", "admit"), 20, f"the admission of {id}") - _ms(b, id, "WorkAdd", "record")


def _ended(b, id, how="done"):
    b.until(lambda: [e for e in b.journal.entries() if e.work_end == f"{id} {how}"], 40, f"{id} {how}")


def _five_tasks(b, server):
    """Three tasks arrive while the agent works on the first, and the fifth while it waits."""
    turn = 60 / SCALE

    def script(c):
        return text(DONE, delay=turn if c.n == 2 else turn / 4) if _handed(c) else text("Nothing to do.")

    _begin(b, script, server, {"idle": {"base": "2m"}})
    _, session = _agent(b)
    b.quiet(3)
    begun = time.monotonic()
    first = _add(b, "the first one")
    b.stub.wait(2, 20, "the first task")
    low = _add(b, "a low one", "--priority", "low")
    normal = _add(b, "a normal one")
    high = _add(b, "a high one", "--priority", "high")
    _ended(b, low)
    time.sleep(max(0, begun + 240 / SCALE - time.monotonic()))
    last = _add(b, "the last one", "--priority", "low")
    _ended(b, last)
    took = time.monotonic() - begun
    b.waiting()
    calls = len(b.stub.calls)
    idle = 300 if b.long else 20
    b.quiet(idle)
    handed = [_handed(c) for c in b.stub.main(session)[1:]]
    woken = {id: _took(b, id) for id in (first, last)}
    at = {_handed(c): c.ms for c in b.stub.main()}
    b.say(f"five tasks in {took:.1f} s; woken after {woken[first]} and {woken[last]} ms, "
          f"at the API after {', '.join(str(at[id] - _ms(b, id, 'WorkAdd', 'record')) for id in woken)} ms; quiet for {idle} s")
    check(handed == [first, high, normal, low, last], f"handed out {handed}")
    check(len(b.stub.calls) == calls, f"{len(b.stub.calls) - calls} side calls without work")
    check(all(e.work for e in b.journal.admissions()), "an admission without an entry")
    b.none_burnt(5)
    check(max(woken.values()) <= WOKEN[server], f"woken after {woken}")
    check(len(b.engines()) == 1, f"{len(b.engines())} engines alive, not 1")


@waits
def work_five_tasks(b):
    _five_tasks(b, True)


@waits
def work_five_tasks_without_a_server(b):
    _five_tasks(b, False)


def _kept_entry(b, server):
    over = threading.Event()

    def script(c):
        if "How is it going?" in c.last:
            return text("Half of it is done.")
        if _handed(c):
            return text("Late.", after=over)
        turn = _in_hand(c)
        return text({2: "Shall I?", 3: DONE}[turn[1]]) if turn else text("Nothing to do.")

    _begin(b, script, server)
    t, _ = _agent(b)
    id = _add(b, "a long one")
    b.stub.wait(2, 20, "the task")
    t.until(lambda s: "esc to interrupt" in s.lower(), 20, "a turn that can be interrupted")
    t.key("Escape")
    t.until(lambda s: "Interrupted" in s, 20, "an interrupted turn")
    over.set()
    _state(b, id, "in hand")
    t.say("How is it going?")
    calls = b.stub.wait(4, 40, "the turn after the person's")
    check("How is it going?" in calls[2].last and _in_hand(calls[3]) == (id, 2), f"turn 2: …{calls[3].last[-300:]}")
    _state(b, id, "in hand")
    calls = b.stub.wait(5, 40, "the turn after the question")
    check(_in_hand(calls[4]) == (id, 3), f"turn 3: …{calls[4].last[-300:]}")
    _ended(b, id)
    _state(b, id, "done")
    b.waiting(refused=2)
    b.quiet(3)
    b.none_burnt(3)
    b.say("in hand after Esc, after a chat and after a question; done by the agent's word, in turn 3")


def work_kept_entry(b):
    _kept_entry(b, True)


def work_kept_entry_without_a_server(b):
    _kept_entry(b, False)


def _long_turn(b, server):
    """The turn is longer than the lease; in the long run also longer than the lease and the minute after it."""
    turn = 75 if b.long else 7
    _begin(b, lambda c: text(DONE, delay=turn) if _handed(c) else text("Nothing to do."), server, {"work_lease": "2s"})
    for _ in range(3):
        _agent(b)
    id = _add(b, "a long one")
    begun = b.stub.wait(4, 20, "the task")[3].at
    time.sleep(turn)
    _ended(b, id)
    took = time.monotonic() - begun
    b.quiet(5)
    handed = [c for c in b.stub.main() if _handed(c)]
    check(len(handed) == 1 and took >= turn, f"handed out {len(handed)} times, done after {took:.1f} s")
    _state(b, id, "done")
    b.none_burnt(1)
    check(len(b.engines()) == 3, f"{len(b.engines())} engines alive, not 3")
    b.say(f"a turn of {took:.1f} s with a lease of 2 s and two more agents: handled once")


@waits
def work_long_turn(b):
    _long_turn(b, True)


@waits
def work_long_turn_without_a_server(b):
    _long_turn(b, False)


def _killed_agent(b, server):
    def script(c):
        if not _handed(c):
            return text("Nothing to do.")
        return text(DONE, delay=1 if "tried" in c.last else 60)

    _begin(b, script, server)
    agents = {session: terminal for terminal, session in (_agent(b), _agent(b))}
    id = _add(b, "carry on")
    holder = b.stub.wait(3, 20, "the task")[2].session
    b.quiet(2)
    killed = time.time_ns() // 1_000_000
    os.kill(agents[holder].pid, signal.SIGKILL)
    call = b.stub.wait(4, 20, "the task in the other agent's hand")[3]
    check(call.session != holder and _handed(call) == id, f"call 4: …{call.last[-300:]}")
    check("tried 1 times before (last: the client ended)" in call.last, f"call 4: …{call.last[-300:]}")
    admitted = [e for e in b.journal.admissions(call.session) if e.work == id][0]
    took = admitted.ms - killed
    _ended(b, id)
    _state(b, id, "done")
    b.quiet(2)
    b.none_burnt(2)
    b.say(f"in the other agent's hand {took} ms after the kill, at the API after {call.ms - killed} ms")
    check(took <= 5000, f"{took} ms after the kill")


def work_killed_agent(b):
    _killed_agent(b, True)


def work_killed_agent_without_a_server(b):
    _killed_agent(b, False)


def _result(c):
    """The output of the tool before a call."""
    content = last_message(c.body)["content"]
    found = next(block for block in content if block.get("type") == "tool_result")["content"]
    return found if isinstance(found, str) else "".join(part.get("text", "") for part in found)


def _add_by_agent(b, server):
    add = f"'{frosty()}' work add --to"
    commands = [f"{add} echo 'more of it'", f"env -u CLAUDE_CODE_SESSION_ID {add} echo 'more of it'",
                f"{add} $CLAUDE_CODE_SESSION_ID 'more of it'",
                # Detached from the client as well.
                f"setsid -f env -u CLAUDE_CODE_SESSION_ID {add} echo 'more of it' >out 2>&1; "
                "until grep -q : out; do sleep 0.1; done; cat out",
                f"{add} helix --priority high 'count them'",
                f"{add} helix 'count them'", f"env -u CLAUDE_CODE_SESSION_ID {add} helix 'count them again'"]
    results = []

    def script(c):
        if c.tool_result:
            results.append(_result(c))
        if "Add more work." in c.last or c.tool_result:
            left = commands[len(results):]
            return tool("Bash", command=left[0], description="x") if left else text(DONE)
        return text(DONE if _handed(c) else "Nothing to do.")

    _begin(b, script, server, allow=["Bash"])
    _, echo = _agent(b)
    _, helix = _agent(b, env={"FROSTY_NAME": "helix"})
    id = _add(b, "Add more work.")
    _ended(b, id)
    own = "cannot add work for its own agent echo; nothing was added"
    for command, result, words in zip(commands, results, (own, own, own, own, "cannot add an entry of high priority")):
        ends = "setsid" in command or "Exit code 1" in result
        check(words in result and "hint: " in result and ends, f"{command}: {result}")
    ids = [result.split()[1] for result in results[5:]]
    for result in results[5:]:
        check(result.startswith("added helix:"), result)
    for added in ids:
        _ended(b, added)
    calls = [c for c in b.stub.main(helix) if _handed(c)]
    check([_handed(c) for c in calls] == ids, f"helix was handed {[_handed(c) for c in calls]}")
    for c in calls:
        check("(normal, added by the agent echo)" in c.last, f"the prompt: …{c.last[-300:]}")
    by = [e.session for e in b.journal.entries() if e.event == "WorkAdd" and e.work in ids]
    check(by == [echo, echo], f"added by {by}, not by {echo}")
    queues = json.loads(b.home.frosty("work", "list", "--json")[1])["queues"]
    check(not any(q["entries"] for q in queues), f"left in the queues: {queues}")
    b.quiet(3)
    b.none_burnt(3)
    b.say(f"refused for itself: {results[1].splitlines()[-2:]}; helix was handed {len(calls)}, added by the agent echo")


def work_add_by_agent(b):
    _add_by_agent(b, True)


def work_add_by_agent_without_a_server(b):
    _add_by_agent(b, False)


SCENARIOS = [work_five_tasks, work_five_tasks_without_a_server, work_kept_entry, work_kept_entry_without_a_server,
             work_long_turn, work_long_turn_without_a_server, work_killed_agent, work_killed_agent_without_a_server,
             work_add_by_agent, work_add_by_agent_without_a_server]
