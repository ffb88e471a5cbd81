"""What the journals, the state folder and the server say in the end."""
import collections
import json
import os
import re

# A server's entry bears the time of its writing, a moment after the time by which it was decided.
WRITTEN_LATER = 25
KEYS_WITHOUT_END = re.compile(r"frosty:\{soak\}:(doc:fleet|fleet|scopes|sessions)$|torch\.continuous\.ops$")
FILES = re.compile(
    r"server\.json$|soak(/lock|/ship\.lock|/server\.json|/fleet\.json|/journal(\.1)?\.jsonl|/redo\.json|/(scopes|sessions)/[0-9a-f]{2}/[^/]*\.json|/marks/[^/]*)?$|continue\.lock$|undecided(/[^/]*)?$|reached\.json$|soak/(marks|(scopes|sessions)(/[0-9a-f]{2})?)$")


class LocalJournal:
    """Follows the local journal through its rotations."""

    def __init__(self, folder):
        self.folder, self.inode, self.at, self.entries = folder, None, 0, []

    def read(self):
        for name in ("journal.1.jsonl", "journal.jsonl"):
            path = os.path.join(self.folder, name)
            try:
                with open(path, "rb") as f:
                    inode = os.fstat(f.fileno()).st_ino
                    if name == "journal.1.jsonl" and inode != self.inode:
                        continue
                    if inode != self.inode:
                        self.inode, self.at = inode, 0
                    f.seek(self.at)
                    data = f.read()
            except FileNotFoundError:
                continue
            whole = data.rfind(b"\n") + 1
            self.entries += [json.loads(line) for line in data[:whole].splitlines()]
            self.at += whole


def gather(server, local):
    """Every verdict once, with the time when it was decided: the server's own, and the stand-in's."""
    own, shipped = [], []
    for (epoch, entry_id), e in server.seen.items():
        if e.get("reason") in (None, "event"):
            continue
        if "ms" in e:
            shipped.append({**e, "ms": int(e["ms"]), "epoch": epoch})
        else:
            own.append({**e, "ms": int(entry_id.split("-")[0]), "epoch": epoch})
    here = [e for e in local.entries if e["store"] == "embedded" and e["reason"] != "event"]
    return own, shipped, here


def admissions(own, here, agents):
    """Those that an agent heard of, by scope; and those that are burnt, without an admission for each that was heard of.

    A server that was frozen admits what was asked of it long ago; nobody waits for that answer any more, and no turn begins.
    """
    by_session = collections.defaultdict(list)
    for e in own + here:
        if e["verdict"] == "admit":
            by_session[e["session"]].append(e)
    by_scope, burnt, unearned = collections.defaultdict(list), [], []
    for agent in agents:
        for session, times in agent.two.items():
            left = sorted(by_session.pop(session, []), key=lambda e: e["ms"])
            for began, at in times:
                near = [e for e in left if began - 1 <= e["ms"] <= at + 1]
                # Whom the stand-in admits has given the server up: what that admits as well is burnt.
                near.sort(key=lambda e: (e["store"] == "embedded", e["ms"]))
                if near:
                    by_scope[agent.scope].append(near[-1])
                    left.remove(near[-1])
                else:
                    unearned.append(f"{session} was told to go on at {at:.0f}, and no admission is near: {left[-2:]}")
            burnt += left
    for left in by_session.values():
        burnt += left
    for all_of_it in by_scope.values():
        all_of_it.sort(key=lambda e: e["ms"])
    return by_scope, burnt, unearned


def over_admissions(by_scope, own, here, interval):
    wrong = []
    for scope, all_of_it in by_scope.items():
        for a, b in zip(all_of_it, all_of_it[1:]):
            if b["ms"] - a["ms"] < interval - WRITTEN_LATER:
                wrong.append(f"{scope}: {b['ms'] - a['ms']} ms between {a['ms']} ({a['store']}, {a['session']}) and "
                             f"{b['ms']} ({b['store']}, {b['session']})")
    # Only hooks without an engine trip, each of a session of its own: one that the stand-in answered did not hear the server.
    answered_here = {e["session"] for e in here}
    for trip in here + [e for e in own if e["session"] not in answered_here]:
        if trip["reason"] == "burst" and trip["retry_after_ms"] not in (None, ""):
            end = trip["ms"] + int(trip["retry_after_ms"])
            early = [a for a in by_scope[trip["scope"]] if trip["ms"] < a["ms"] < end - WRITTEN_LATER]
            wrong += [f"{trip['scope']}: admitted {a['ms'] - trip['ms']} ms into a cooldown of {trip['retry_after_ms']} ms that "
                      f"{trip['store']} opened, by {a['store']}" for a in early]
    return wrong


def key(e):
    # A stop that is told again keeps its id.
    return e["id"], e["ms"], e["event"], e["reason"]


def gaps(own, shipped, here, agents):
    wrong = []
    degraded = collections.Counter(key(e) for e in here if str(e["degraded"]) == "1")
    arrived = collections.Counter(key(e) for e in shipped)
    wrong += [f"not shipped: {k}" for k in (degraded - arrived)]
    # A server that lost its data has lost what had arrived, and may be told of it once more.
    each = collections.Counter((e["epoch"], key(e)) for e in shipped)
    wrong += [f"doubled on the server: {k} {n} times" for k, n in each.items() if n > 1]
    wrong += [f"doubled here: {k} {n} times" for k, n in degraded.items() if n > 1]
    wrong += [f"shipped, but never decided here: {k}" for k in arrived if k not in degraded]
    wrong += [f"not marked degraded: {key(e)}" for e in here if str(e["degraded"]) != "1"]
    decided = {e["session"] for e in own + here}
    for agent in agents:
        wrong += [f"no entry of {session}, which ended with {code}: {said[:300]}" for session, code, said in agent.plain
                  # Neither store could be asked in time, nor the failure be journaled: refused, and nothing was decided.
                  if session not in decided and not (code == 0 and said.startswith("frosty: store_down"))]
    return wrong


def files(state):
    wrong = []
    for folder, folders, names in os.walk(state):
        for name in folders + names:
            path = os.path.relpath(os.path.join(folder, name), state)
            if not FILES.match(path):
                wrong.append(path)
    return wrong


def keys(server):
    wrong, cursor = [], "0"
    while True:
        cursor, some = server.ask("SCAN", cursor, "COUNT", "500")
        for name in some:
            if server.ask("TTL", name) == -1 and not KEYS_WITHOUT_END.match(name):
                wrong.append(name)
        if cursor == "0":
            return wrong


def processes(home):
    mark, found = f"\0HOME={home}\0".encode(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f, open(f"/proc/{pid}/cmdline", "rb") as c:
                if mark in b"\0" + f.read() + b"\0":
                    found.append(f"{pid} {c.read().replace(bytes(1), b' ').decode(errors='replace')}")
        except OSError:
            pass
    return found
