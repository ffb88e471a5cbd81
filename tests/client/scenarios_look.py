"""What people see of a session: the client's own status line, and `frosty status`."""
import json
import threading

from bench import check
from home import continuous, frosty
from stub import text


def _with_statusline():
    settings = continuous()
    settings["statusLine"] = {"type": "command", "command": f"{frosty()} statusline", "refreshInterval": 1}
    return settings


def statusline(b):
    seen = threading.Event()

    def script(c):
        if c.n == 1:
            return text("Going on.\n\nfrosty: next_check 8s")
        return text("All done.\n\nfrosty: done", after=seen)

    b.start(script, {"stop": {"min_interval": "1s"}}, engine=_with_statusline)
    t = b.open()

    def shows(words):
        screen = t.until(lambda s: words in s, 30, f"{words!r} in the status line")
        b.say(next(line.strip() for line in screen.splitlines() if "❄" in line))

    shows("❄ idle")
    t.say("Go.")
    shows("❄ resting ")
    shows("❄ running · 1 in a row")
    seen.set()
    shows("❄ done")
    code, out = b.home.frosty("status")
    check(code == 0 and " done " in out and " a wake-up " in out, out)
    b.waiting(refused=2)


def statusline_beside_ones_own(b):
    """The client shows a person's own status line and Frosty's on two lines, and takes the own one back."""
    b.start(lambda c: text("All done.\n\nfrosty: done"), {"stop": {"min_interval": "1s"}})
    settings = b.home.project / ".claude/settings.json"
    own = json.loads(settings.read_text())
    own["statusLine"] = {"type": "command", "command": "grep -o '\"session_id\":\"[0-9a-f]*' | sed 's/.*\"/own line of /'"}
    settings.write_text(json.dumps(own, indent=3))
    before = settings.read_bytes()
    code, out = b.home.frosty("install", "--statusline")
    check(code == 1 and "--replace" in out and settings.read_bytes() == before, f"exit {code}: {out}")
    code, out = b.home.frosty("install", "--statusline", "--replace")
    check(code == 0, f"exit {code}: {out}")
    t = b.open()
    t.say("Go.")
    screen = t.until(lambda s: "❄ done" in s, 30, "Frosty's line")
    lines = [line.strip() for line in screen.splitlines()]
    at = next(i for i, line in enumerate(lines) if "❄ done" in line)
    check(lines[at - 1].startswith("own line of "), f"above Frosty's line: {lines[at - 1]!r}")
    b.say(f"{lines[at - 1]} / {lines[at]}")
    code, out = b.home.frosty("uninstall")
    check(code == 0 and settings.read_bytes() == before, f"exit {code}: {out}")
    t.until(lambda s: "own line of " in s and "❄" not in s, 30, "the own line alone")


def goal(b):
    """`frosty doctor` finds the client's own goal where the client keeps it."""
    b.start(lambda c: text(f"Reply {c.n}."), {"stop": {"min_interval": "1h"}})
    t = b.open()
    t.say("Go.")
    b.stub.wait(1, 30)

    def doctor(words):
        def line():
            lines = b.home.frosty("doctor")[1].splitlines()
            return next((l for l in lines if " goal " in l and words in l), None)
        b.say(b.until(line, 30, f"{words!r} in the doctor's line"))

    doctor("none in force")
    t.say("/goal the tests pass")
    doctor("/goal \"the tests pass\" is in force")
    t.say("/goal clear")
    doctor("none in force")


SCENARIOS = [statusline, statusline_beside_ones_own, goal]
