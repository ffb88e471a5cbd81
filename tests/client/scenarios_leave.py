"""The waiter's agent gets another prompt, or goes: no waiter may then wake anybody, nor use up an admission."""
import os
import signal
import threading

from bench import check
from home import brief, client
from stub import text, tool

# It opens in no scenario: where an engine has to go on, the scenario shortens it first.
POLICY = {"stop": {"min_interval": "1h"}}
SHORT = {"min_interval": "1s"}


def _waiting(b, script=None, **start):
    """One continuation has been, and an engine waits out the minimum interval."""
    b.start(script or (lambda c: text(f"Reply {c.n}.")), POLICY, **start)
    t = b.open()
    t.say("Go.")
    b.stub.wait(2, 30)
    return t, b.waiting()


def _nothing_left(b, calls):
    """No engine, so that nothing is there to ask; and none was admitted or called before it left."""
    b.no_engine()
    b.quiet(2)
    check(len(b.stub.main()) == calls, f"{len(b.stub.main())} calls, not {calls}")
    b.none_burnt(1)
    # One that came back would stay for the minimum interval. That of a session that begins only looks, and leaves.
    b.no_engine()
    # Told to end, it must not take that for a failure of the store.
    wrong = [e.detail for e in b.journal.entries() if e.reason == "store_down"]
    check(not wrong, f"journaled as store_down: {wrong}")


def _prompt(b, **start):
    """The minimum interval is over in the middle of the person's turn: nothing may be admitted then."""
    over = threading.Event()

    def script(c):
        if "Another thing." in c.last:
            return text(f"Reply {c.n}.", after=over)
        return text(f"Reply {c.n}." if c.n < 4 else "All done.\n\nfrosty: done")

    t, old = _waiting(b, script, **start)
    t.say("Another thing.")
    b.stub.wait(3, 20, "the person's prompt")
    b.until(lambda: old not in b.engines(), 10, "the old engine retires while the turn goes on")
    b.home.set_policy(stop=SHORT)
    b.quiet(2)
    b.none_burnt(1)
    over.set()
    calls = b.stub.wait(4, 30, "the continuation")
    check("Another thing." in calls[2].last, "call 3 was not the person's")
    check("Another thing." not in calls[3].last, "call 4 was the person's again")
    b.until(lambda: b.journal.refusals("done"), 30, "`done` in the journal")
    b.waiting()
    b.quiet(1)
    b.none_burnt(2)
    now = len(b.stub.main())
    b.say(f"the prompt retired engine and fence; {now} calls, {len(b.journal.admissions())} admissions")
    check(now == 4, f"{now} calls, not 4: a double continuation")
    check(len(b.engines()) == 1, f"{len(b.engines())} engines alive, not 1")


def prompt_while_waiting(b):
    _prompt(b, server=True)


def prompt_while_waiting_without_a_server(b):
    _prompt(b)


def _clear(b, **start):
    t, _ = _waiting(b, **start)
    old = b.stub.main()[0].session
    t.say("/clear")
    b.until(lambda: [e for e in b.journal.entries() if e.event == "SessionStart" and e.session != old], 30,
            "the new conversation begins")
    _nothing_left(b, 2)
    b.say("/clear: no engine left, no call, no admission")
    # The new conversation has an engine of its own.
    b.home.set_policy(stop=SHORT)
    t.say("Anew.")
    calls = b.stub.wait(4, 30, "a prompt and a continuation after /clear")
    check(calls[2].session != calls[0].session, "the session did not change")
    check(calls[3].session == calls[2].session, "the old session was continued")


def clear_while_waiting(b):
    _clear(b, server=True)


def clear_while_waiting_without_a_server(b):
    _clear(b)


def _exit(b, **start):
    t, _ = _waiting(b, **start)
    t.say("/exit")
    t.gone()
    _nothing_left(b, 2)
    b.say("/exit: no engine left, no call, no admission")


def exit_while_waiting(b):
    _exit(b, server=True)


def exit_while_waiting_without_a_server(b):
    _exit(b)


def _kill(b, **start):
    t, _ = _waiting(b, **start)
    os.kill(t.pid, signal.SIGKILL)
    t.gone()
    _nothing_left(b, 2)
    b.say("kill -9: no engine left, no call, no admission")


def kill_while_waiting(b):
    _kill(b, server=True)


def kill_while_waiting_without_a_server(b):
    _kill(b)


def nested_client(b):
    """The agent runs `claude -p` in its own pane, with FROSTY_ON inherited: another session, the same seat."""
    def script(c):
        if "hello from inside" in c.last:
            return text("Nested reply.")
        if c.n == 1:
            return tool("Bash", command=f"{client()} -p 'hello from inside'")
        # The prompt, the nested one's, the tool's result, two continuations.
        return text(f"Reply {c.n}." if c.n < 5 else "All done.\n\nfrosty: done")

    b.start(script, {"stop": SHORT}, allow=["Bash"], env={"FROSTY_ON": "1"})
    t = b.open()
    t.say("Go.")
    calls = b.stub.wait(4, 60, "the outer session goes on after the nested one")
    outer = calls[0].session
    nested = [c for c in calls if c.session != outer]
    check(len(nested) == 1 and "hello from inside" in nested[0].last, f"{len(nested)} nested calls, not 1")
    b.stub.wait(4, 30, "a second continuation of the outer session", session=outer)
    b.until(lambda: b.journal.refusals("done"), 30, "`done` in the journal")
    b.waiting()
    b.quiet(1)
    check(len([c for c in b.stub.main() if c.session != outer]) == 1, "the nested session was continued")
    others = [e.session for e in b.journal.admissions() if e.session != outer]
    check(not others, f"admitted for {others}")
    b.none_burnt(2)
    b.say("nested claude -p: 1 call of its own, the outer session continued twice")


def nested_while_waiting(b):
    """Somebody runs `claude -p` in the pane while the engine waits."""
    b.start(lambda c: text(f"Reply {c.n}.\n\nfrosty: done"), {"stop": SHORT})
    t = b.open()
    t.say("Go.")
    outer = b.stub.wait(1, 30)[0].session
    waiter = b.waiting()
    b.home.print_mode("hello from beside", env=t.pane())
    beside = [c for c in b.stub.main() if c.session != outer]
    check(len(beside) == 1 and "hello from beside" in beside[0].last, f"{len(beside)} calls of the one beside")
    check(b.engines() == [waiter], f"engines {b.engines()}, not {waiter} alone")
    code, out = b.home.frosty("wake", outer)
    check(code == 0, f"frosty wake: exit {code}: {out}")
    b.stub.wait(2, 30, "the waiting engine's continuation", session=outer)
    b.until(lambda: len(b.journal.refusals("done")) == 2, 30, "`done` again")
    b.quiet(1)
    check(len(b.stub.main()) == 3, f"{len(b.stub.main())} calls, not 3")
    b.none_burnt(1)
    b.say(f"a claude -p beside it: 1 call; engine {waiter} woke its own session")


def wait_is_renewed(b):
    """Before the client would end the wait, the agent is asked for one short line: its next stop begins another."""
    def script(c):
        if c.n == 2:
            return text("Resting on.")
        return text(f"Reply {c.n}.\n\nfrosty: done")

    b.start(script, {"stop": {"min_interval": "1s"}}, engine=lambda: brief("6s"))
    b.open().say("Go.")
    calls = b.stub.wait(2, 30, "a renewal")
    check("renews its wait" in calls[1].last, f"the prompt of a renewal: …{calls[1].last[-300:]}")
    b.say(f"renewed {calls[1].at - calls[0].at:.2f} s into a wait of 6 s")
    # Neither the renewal nor the line it asked for ends what the agent said before.
    b.quiet(3)


SCENARIOS = [prompt_while_waiting, prompt_while_waiting_without_a_server, clear_while_waiting,
             clear_while_waiting_without_a_server, exit_while_waiting, exit_while_waiting_without_a_server, kill_while_waiting, kill_while_waiting_without_a_server, nested_client, nested_while_waiting, wait_is_renewed]
