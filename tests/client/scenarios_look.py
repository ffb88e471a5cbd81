"""What people see of a session: the client's own status line, and `frosty status`."""
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


SCENARIOS = [statusline, goal]
