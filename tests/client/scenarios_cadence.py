"""An agent with a profile: its reflections, its notes, its dreams, and what survives a compaction."""
import json
import re
import threading
import time
from collections import Counter

from bench import check, waits
from home import continuous, frosty
from stub import rate_limit, text, texts, tool

IDLE = {"base": "80ms", "factor": 2, "max": "320ms", "looked_max": "160ms"}
NAME = "nova"
# How each kind of turn asks.
ASKS = {"reflection_on_cycle": "look back at your last runs of work", "reflection_on_self": "it is for you and not for the task",
        "reflection_on_reflections": "look at your last reflections", "dream": "you are about to rest for a while"}
DREAMS = {"stop": {"min_interval": "150ms", "burst": None}, "agents": {NAME: {"profile": "own"}},
          "profiles": {"own": {"dreams": "on", "long_rest": "2s"}}}
# A dream needs so many other turns before it.
BETWEEN = 9
LINE = {"type": "command", "command": f"'{frosty()}' statusline"}
# A machine that is busy with other tests may be so much later, in seconds.
LATE = 8
# Tokens that fill the window set below.
FULL = 95000


def _asked(c):
    return next((kind for kind, words in ASKS.items() if words in c.last), None)


def _kinds(b, session=None):
    return [e.turn_kind for e in b.journal.admissions(session) if e.turn_kind]


def _works(n):
    # Calls that differ in digits alone count as the same one.
    return tool("Bash", command=f"echo {chr(97 + n)}", description="x")


def reflections(b):
    """Each third cycle ends in a reflection. An agent without the profile makes the same rests from the same script."""
    turns = 15 * 4 // 3
    at, asked = Counter(), {}

    def script(c):
        kind, mine = _asked(c), asked.setdefault(c.session, [])
        if kind:
            mine.append((kind, c.last))
            return text("Looked back.\n" + ("frosty: note the tests need a server" if len(mine) == 1 else ""))
        if c.tool_result:
            return text("Worked.")
        at[c.session] += 1
        # A turn of work, then three empty ones: three cycles.
        if at[c.session] > turns:
            return text("frosty: done")
        return _works(at[c.session]) if at[c.session] % 4 == 1 else text("Nothing to do.")

    own = {"own": {"reflect_every": 3, "idle": IDLE}}
    b.start(script, {"stop": {"min_interval": "150ms", "burst": None}, "idle": IDLE, "profiles": own,
                     "agents": {NAME: {"profile": "own"}}}, allow=["Bash"])
    b.open("Go.", env={"FROSTY_NAME": NAME})
    session = b.stub.wait(1, 60)[0].session
    b.open("Go.", env={"FROSTY_NAME": "plain"})
    b.until(lambda: len(b.journal.refusals("done")) == 2, 90, "both agents are done")
    plain = next(c.session for c in b.stub.main() if c.session != session)
    rests = {one: [e.retry_after_ms for e in b.journal.refusals("idle") if e.session == one] for one in (session, plain)}
    kinds = [kind for kind, _ in asked[session]]
    b.say(f"{len(b.journal.admissions(session))} continuations, reflections: {' '.join(kinds)}")
    b.say(f"rests with the profile {rests[session]}, without it {rests[plain]}")
    cycle, self, both = list(ASKS)[:3]
    check(kinds == [cycle, self, cycle, self, both], f"asked for {kinds}")
    check(_kinds(b, session) == kinds and not _kinds(b, plain) and not asked[plain], f"in the journal: {_kinds(b)}")
    check(rests[session] == rests[plain] and len(rests[plain]) == 15, "other rests")
    given = [n for n, (_, words) in enumerate(asked[session]) if "> the tests need a server" in words]
    all_given = [c.n for c in b.stub.main() if "> the tests need a server" in c.last]
    check(given == [1] and len(all_given) == 1, f"the note was given at the reflections {given}, in the calls {all_given}")
    code, out = b.home.frosty("notes", NAME)
    check(code == 0 and "the tests need a server" in out, f"frosty notes: exit {code}: {out}")


def _cached(reply, cached=5000):
    reply.cached = cached
    return reply


def _dreamer(b, replies, **more):
    """An agent that may dream from its tenth continuation on. `replies` gives its words in the turns after that, by their number
    from 1. Returns the calls of its dreams."""
    turns, dreams = [], []

    def script(c):
        if _asked(c):
            dreams.append(c)
            return _cached(text("Decided: the small fix.\nfrosty: note next: run the tests"))
        turns.append(c)
        return replies(len(turns) - BETWEEN, c)

    b.start(script, {**DREAMS, "api_error": {"base": "1s"}}, env={"FROSTY_NAME": NAME}, **more)
    b.open("Go.")
    return dreams


def _do(b, *args):
    code, out = b.home.frosty(*args)
    check(code == 0, f"frosty {args}: exit {code}: {out}")
    return out


def _one_dream(b, dreams, asleep):
    """Waits for the dream before a rest of `asleep` seconds, and for the wake-up after it, whose prompt has the dream's note."""
    b.until(lambda: dreams, 30, "a dream")
    dream = dreams[0]
    call = b.until(lambda: [c for c in b.stub.main() if c.ms > dream.ms], asleep + 30, "the wake-up")[0]
    turn = [c for c in b.stub.main() if c.ms < dream.ms][-1]
    took = (call.ms - turn.ms) / 1000
    b.say(f"the dream is at the API {(dream.ms - turn.ms) / 1000:.2f} s after the last turn, and the wake-up {took:.2f} s after it")
    check("> next: run the tests" in call.last, f"no note at the wake-up: …{call.last[-300:]}")
    check(asleep <= took <= asleep + LATE, "the rest was moved")
    b.until(lambda: b.journal.refusals("done"), 30, "done")
    check(_kinds(b) == ["dream"], f"kinds: {_kinds(b)}")


@waits
def dream_before_a_long_rest(b):
    """One dream before a long rest, with its notes at the wake-up; none when done, blocked, held, or at the API's limit."""
    later = "Later.\n\nfrosty: next_check "
    says = {1: "frosty: done", 2: "frosty: blocked the key", 3: f"{later}2s", 5: f"{later}4s", 6: "frosty: done"}
    held = threading.Event()

    def replies(n, _):
        return rate_limit() if n == 4 else text(says.get(n, "Go on."), after=held if n == 3 else None)

    dreams = _dreamer(b, replies)
    for kind in ("done", "blocked"):
        b.until(lambda: b.journal.refusals(kind), 60, kind)
        b.waiting()
        _do(b, "wake", NAME)
    b.stub.wait(BETWEEN + 3, 30, "the turn in which the hold begins")
    _do(b, "hold", "--for", "3s", "--reason", "quiet")
    held.set()
    b.until(lambda: b.journal.refusals("hold"), 20, "held")
    b.stub.wait(BETWEEN + 5, 60, "after the limit")
    check(not [c for c in dreams if c.n <= BETWEEN + 5], f"a dream too soon: {_kinds(b)}")
    check([e for e in b.journal.entries() if e.event == "StopFailure"], "no limit of the API")
    _one_dream(b, dreams, 4)


@waits
def dream_with_a_warm_cache(b):
    """No dream where the client reports a cold cache, and one where it reports a warm one."""
    def replies(n, _):
        later = {1: 2, 3: 4}.get(n)
        reply = text(f"Later.\n\nfrosty: next_check {later}s" if later else "frosty: done" if n == 4 else "Go on.")
        # The client reports the turn before meanwhile.
        reply.delay = 1.0 if n in (1, 3) else 0.0
        return _cached(reply) if n >= 2 else reply

    def note():
        return [file.read_text() for file in (b.home.path / ".local/state/frosty/default/warm").glob("*")]

    dreams = _dreamer(b, replies, engine=lambda: {**continuous(), "statusLine": LINE})
    b.until(lambda: [r for r in b.journal.refusals("rest") if r.retry_after_ms > 1500], 60, "the rest of two seconds")
    cold = note()
    b.stub.wait(BETWEEN + 2, 30, "after the rest")
    check(cold == ["0"] and not dreams, f"a cache noted as {cold}, {len(dreams)} dreams")
    _one_dream(b, dreams, 4)
    warm = [int(end) - time.time() for end in note()]
    check(len(warm) == 1 and 240 < warm[0] <= 301, f"a cache that is warm for {warm} s")


def _context(c):
    """What the client tells the agent beside the conversation."""
    return "\n".join(words for m in c.body["messages"] if m["role"] == "system" for words in texts(m))


def kept_over_a_compaction(b):
    """The client's own compaction and a person's: the summariser gets the entry in hand, the rest and the notes, and so does the
    next turn."""
    def script(c):
        if c.tool_result:
            return text("Worked.\nfrosty: note the port is 8080" if c.n < 5 else "Later.\n\nfrosty: next_check 2h")
        if "Hello" in c.last:
            return text("frosty: done")
        return tool("Bash", command=f"echo {c.n}", description="x", tokens=FULL if c.n > 3 else None)

    b.start(script, {"work": "preferred", "stop": {"min_interval": "300ms", "burst": None}}, allow=["Bash"],
            env={"FROSTY_NAME": NAME, "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "100000"})
    entry = _do(b, "work", "add", "--to", NAME, "Mend the gate.").split()[1]
    t = b.open("Go.")
    b.until(lambda: b.journal.refusals("rest"), 60, "the rest")
    t.say("/compact")
    t.until(lambda s: "completed successfully" in s, 30, "the end of the compaction")
    t.say("Hello")
    b.until(lambda: any("Hello" in c.last for c in b.stub.main()), 30, "the next turn")
    summaries, calls = b.stub.of("summary"), b.stub.main()
    after = [next(c for c in calls if c.at > summary.at) for summary in summaries]
    work = f"Work in hand: the entry {entry} (all of it: frosty work show {entry})\n"
    notes = "Notes of the agent:\n> the port is 8080\n"
    check(len(summaries) == 2, f"{len(summaries)} summaries")
    for summary, call, rest in zip(summaries, after, ("", r"Rest: until \S+ \S+ UTC\n")):
        for where, found, beside in (("summary", summary.last, 0), ("context", _context(call), 1)):
            kept = re.search(f"To be kept, from Frosty:\n{re.escape(work)}{rest}{re.escape(notes)}", found + "\n")
            check(kept, f"not kept in the {where}: …{found[-800:]}")
            # The context also states whose the work queue is.
            check(found.count("Frosty") == 1 + beside, f"more of Frosty's in the {where}: …{found[-800:]}")
    twice = after[1].last.count("To be kept, from Frosty:")
    b.say(f"kept over the client's compaction and a person's; the output of /compact repeats the lines {twice} time")


def _characters(c):
    """The characters of a request's messages, and those of them that are Frosty's."""
    all_of_it, own = 0, 0
    for m in c.body["messages"]:
        blocks = m["content"] if isinstance(m["content"], list) else [{"type": "text", "text": m["content"]}]
        for block in blocks:
            words = block.get("text") or json.dumps(block.get("input") or block.get("content"), ensure_ascii=False)
            all_of_it += len(words)
            own += sum(map(len, re.findall(r'blocking error from command "[^"]*": (.*?)\s*&lt;/system-reminder', words, re.S)))
    return all_of_it, own


def share_of_the_context(b):
    """Frosty's share of the context after 40 turns, with a profile and without: a measurement."""
    if not b.long:
        return b.say("measured with --long")
    at = Counter()

    def script(c):
        is_long, n = "Long turns." in json.dumps(c.body["messages"]), at[c.session]
        if _asked(c):
            return text(f"Looked back. The gate is open, and the tests are slow.\nfrosty: note {chr(97 + n % 26)}: run the slow tests last")
        if c.tool_result:
            return text("It works. " * (30 if is_long else 1) + ("\n\nfrosty: next_check 1s" if n % 12 == 0 else ""))
        at[c.session] = n = n + 1
        if n > 40:
            return text("frosty: done")
        if n % 4 == 3:
            return text("Nothing to do.")
        letters = chr(97 + n // 26) + chr(97 + n % 26)
        return tool("Bash", command=f"echo {letters}" + (f"; seq {n}00000 {n}00249" if is_long else ""), description="x")

    own = {"interlaced": {"beat": "200ms", "idle": IDLE, "long_rest": "1s"}}
    b.start(script, {"stop": {"min_interval": "200ms", "burst": None}, "idle": IDLE, "profiles": own,
                     "agents": {NAME: {"profile": "interlaced"}}}, allow=["Bash"])
    sessions = {}
    for turns in ("Long turns.", "Short turns."):
        for name in (NAME, "plain"):
            b.open(turns, env={"FROSTY_NAME": name})
            sessions[turns, name] = b.until(lambda: {c.session for c in b.stub.main()} - set(sessions.values()), 60, turns).pop()
    b.until(lambda: len(b.journal.refusals("done")) == 4, 240, "all are done")
    for (turns, name), session in sessions.items():
        last = b.stub.main(session)[-1]
        (messages, found), kinds = _characters(last), Counter(_kinds(b, session))
        request = messages + len(json.dumps([last.body.get("system"), last.body.get("tools")], ensure_ascii=False))
        b.say(f"{turns} {name}: {found} of {messages} characters of the messages are Frosty's, {100 * found / messages:.2f} %; "
              f"{100 * found / request:.2f} % with the system prompt and the tools; {dict(kinds)}, {at[session]} turns")


SCENARIOS = [reflections, dream_before_a_long_rest, dream_with_a_warm_cache, kept_over_a_compaction, share_of_the_context]
