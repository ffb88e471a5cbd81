"""Frosty's journal, read as anybody may: the file of the embedded store, or the stream of a server."""
import json


class Entry(dict):
    __getattr__ = dict.get

    def __str__(self):
        keys = ("ms", "event", "verdict", "reason", "retry_after_ms", "strikes", "scope", "detail")
        return " ".join(f"{k}={self[k]}" for k in keys if self.get(k) not in (None, "")) + f" session={str(self.session)[:8]}"


class Journal:
    def __init__(self, home, server=None):
        self.files = [home.path / ".local/state/frosty/default" / n for n in ("journal.1.jsonl", "journal.jsonl")]
        self.server = server

    def entries(self):
        found = []
        for file in self.files:
            if file.exists():
                # A line being written has no end yet.
                found += [Entry(json.loads(line)) for line in file.read_text().splitlines(True) if line.endswith("\n")]
        here = {e["id"] for e in found}
        return sorted(found + [e for e in self.stream() if e["id"] not in here], key=lambda e: e["ms"])

    def stream(self):
        """What the server has; nothing while it is away. What was shipped keeps its own time and id."""
        if not self.server:
            return []
        try:
            stored = self.server.ask("XRANGE", "torch.continuous.ops", "-", "+")
        except OSError:
            return []
        found = []
        for id, pairs in stored:
            entry = Entry(zip(pairs[::2], pairs[1::2]))
            entry["id"], entry["ms"] = entry.get("id", id), int(entry.get("ms", id.split("-")[0]))
            if entry.retry_after_ms:
                entry["retry_after_ms"] = int(entry.retry_after_ms)
            found.append(entry)
        return found

    def admissions(self, session=None):
        """Continuations only: an automatic compaction that passed is an admission of another class."""
        return [e for e in self.entries()
                if e.verdict == "admit" and e.event != "PreCompact" and session in (None, e.session)]

    def refusals(self, reason=None):
        return [e for e in self.entries() if e.verdict == "refuse" and reason in (None, e.reason)]

    def gaps(self):
        at = [e.ms for e in self.admissions()]
        return [b - a for a, b in zip(at, at[1:])]

    def tail(self, last=25):
        try:
            return "\n".join(f"  {e}" for e in self.entries()[-last:]) or "  nothing"
        except (OSError, AssertionError) as e:
            return f"  not to be read: {e}"
