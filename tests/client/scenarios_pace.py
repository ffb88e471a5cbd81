"""Usage windows: four agents share one, which the client's own status line shows."""
import json
import math
import os
import threading
import time

from bench import check, waits
from home import continuous, frosty
from stub import text

AGENTS = 4
CAP = 95
POLICY = {"stop": {"min_interval": "2s", "burst": None}, "pace": {"five_hour": {"cap": CAP, "spread": True}}}
# The calls of a second that use up a window. Without a pace the four agents make three times as many.
RATE = 0.6
# How often the machine reports, in seconds.
EVERY = 4
# A machine that is busy with other tests may start a program so much later, in ms.
LATE = 5000
LINE = {"type": "command", "command": f"'{frosty()}' statusline"}


class Window:
    """A window of the API key: its share grows with each call."""

    def __init__(self, ends, cost):
        self.ends, self.cost = ends, cost
        self.calls = 0
        # What others have used.
        self.others = 0.0

    def share(self):
        return self.others + self.calls * self.cost

    def headers(self):
        used, ends = f"{self.share() / 100:.4f}", str(self.ends)
        return {"anthropic-ratelimit-unified-status": "allowed", "anthropic-ratelimit-unified-5h-status": "allowed",
                "anthropic-ratelimit-unified-representative-claim": "five_hour", "anthropic-ratelimit-unified-reset": ends,
                "anthropic-ratelimit-unified-5h-utilization": used, "anthropic-ratelimit-unified-5h-reset": ends}


class Key:
    """The API key: its first window begins with the first call, and lasts `least` seconds and up to the next minute."""

    def __init__(self, least, others=0.0):
        self.least, self.others = least, others
        self.begun, self.windows = None, []

    def __call__(self, c):
        now = time.time()
        if not self.windows:
            self.begun = now
            ends = math.ceil((now + self.least) / 60) * 60
            self.windows.append(Window(ends, 100 / (RATE * (ends - now))))
            self.windows[0].others = self.others
        while now >= self.windows[-1].ends:
            self.windows.append(Window(self.windows[-1].ends + 300, self.windows[0].cost))
        window = self.windows[-1]
        window.calls += 1
        reply = text("Done.\n\nfrosty: done" if "Be idle." in c.last else f"Reply {c.n}.")
        reply.headers = window.headers()
        return reply


class Samples:
    """What the store knows of the window, several times a second."""

    def __init__(self, b):
        self.server, self.found = b.server, []
        self.note = b.home.path / ".local/state/frosty/default/windows.json"
        self.over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self):
        reported = time.monotonic()
        while not self.over.wait(0.1):
            if time.monotonic() > reported + EVERY:
                reported = time.monotonic()
                self._report_again()
            try:
                stored = json.loads(self.server.ask("GET", "frosty:{default}:windows") or "{}")
            except OSError:
                continue
            window = stored.get("five_hour")
            if window and self.found[-1:] != [window]:
                self.found.append(window)

    def _report_again(self):
        """A machine reports once a minute, which is too seldom for a window of two minutes."""
        if self.note.exists():
            new = self.note.with_name("windows.new")
            new.write_text(json.dumps({**json.loads(self.note.read_text()), "written": 0}))
            os.replace(new, self.note)

    def close(self):
        self.over.set()

    def of(self, window):
        return [sample for sample in self.found if sample["resets_at"] == window.ends * 1000]


def _with_line():
    return {**continuous(), "statusLine": LINE}


def _agents(b, key, known=lambda samples: True):
    """Four agents at work, and a session that repeats its first status line each second. The agents begin once `known`
    holds."""
    b.start(key, POLICY, engine=_with_line, server=True, subscription=True)
    repeats = {**LINE, "command": f"""tee -a "$HOME/repeated" | {LINE['command']}""", "refreshInterval": 1}
    idle = b.open("--settings", json.dumps({"statusLine": repeats}))
    agents = [b.open() for _ in range(AGENTS)]
    samples = b.keep(Samples(b))
    idle.say("Be idle.")
    b.until(lambda: known(samples), 30, "the first report")
    for agent in agents:
        agent.say("Go.")
    return samples


def _repeated(b):
    """The shares that the idle session has reported, one for each status line."""
    lines = (b.home.path / "repeated").read_text().splitlines()
    limits = [json.loads(line).get("rate_limits") for line in lines if line]
    return [found["five_hour"]["used_percentage"] for found in limits if found]


@waits
def pace_of_four_agents(b):
    """The turns are spread over the window, and the share is used up to the cap at its end."""
    key = Key(600 if b.long else 75)
    samples = _agents(b, key)
    window = key.windows[0]
    time.sleep(max(0, window.ends + 1 - time.time()))
    ends, used = window.ends * 1000, window.share()
    length = ends - key.begun * 1000
    admitted = [e.ms for e in b.journal.admissions() if e.ms < ends]
    fifths = [sum(1 for ms in admitted if n <= 5 - (ends - ms) * 5 / length < n + 1) for n in range(5)]
    known, repeated = [sample["used"] / 100 for sample in samples.of(window)], _repeated(b)
    paced = b.journal.refusals("pace")
    b.say(f"a window of {length / 1000:.0f} s ends at {used:.1f} % after {window.calls} calls; turns in each fifth: {fifths}; "
          f"{len(paced)} refusals by the pace")
    b.say(f"{len(known)} reports from {known[0]:.1f} to {known[-1]:.1f} %; the idle session repeated {repeated[-1]:.1f} % "
          f"{len(repeated)} times")
    # A report is some seconds late, in which two or three turns use 2 % each: in five hours it would be a hundredth of that.
    check(88 <= used <= 104, f"the window ends at {used:.1f} %")
    even = sum(fifths[1:]) / 4
    check(all(even / 3 <= turns <= even * 2 for turns in fifths[1:]), f"turns in each fifth: {fifths}")
    check(len(known) >= 8 and all(a < b for a, b in zip(known, known[1:])), f"the share did not grow alone: {known}")
    served = {round(window.cost * n, 2) for n in range(1, window.calls + 1)}
    check(all(min(abs(share - one) for one in served) < 0.1 for share in known), f"no share of the API's: {known}")
    check(len(repeated) >= length / 3000 and max(repeated) < known[2], f"the idle session reported {repeated}")


@waits
def window_at_its_cap(b):
    """No agent is admitted before the reset, and all four are after it."""
    key = Key(25, others=96)
    samples = _agents(b, key, known=lambda samples: samples.found)
    ends = key.windows[0].ends * 1000

    def after_the_reset():
        found = {}
        for e in b.journal.admissions():
            found.setdefault(e.session, e.ms)
        return sorted(found.values()) if len(found) == AGENTS else None

    back = b.until(after_the_reset, 60 + 120, "all four agents after the reset")
    refused = {e.session: e.ms + e.retry_after_ms for e in b.journal.refusals("limit")}
    b.say(f"at {samples.found[0]['used'] / 100:.1f} % with a cap of {CAP}: {len(refused)} agents refused; "
          f"back {', '.join(f'{(ms - ends) / 1000:.1f}' for ms in back)} s after the reset")
    check(len(refused) == AGENTS, f"{len(refused)} agents were refused as `limit`")
    check(back[0] >= ends, f"admitted {ends - back[0]} ms before the reset")
    check(back[0] - min(refused.values()) <= LATE, f"the first one came back {back[0] - min(refused.values())} ms late")


SCENARIOS = [window_at_its_cap, pace_of_four_agents]
