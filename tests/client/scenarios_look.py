"""What people see of a session: the client's own status line, and `frosty status`."""
from bench import check
from home import continuous, frosty
from stub import text


def _with_statusline():
    settings = continuous()
    settings["statusLine"] = {"type": "command", "command": f"{frosty()} statusline", "refreshInterval": 1}
    return settings


def statusline(b):
    def script(c):
        if c.n == 1:
            return text("Going on.\n\nfrosty: next_check 8s")
        return text("All done.\n\nfrosty: done", delay=4)

    b.start(script, {"stop": {"min_interval": "1s"}}, engine=_with_statusline)
    t = b.open()
    check("❄" not in t.screen(), "a status line for a session that has not stopped yet")
    t.say("Go.")
    for says in ("❄ resting ", "❄ running · 1 in a row", "❄ done"):
        screen = t.until(lambda s: says in s, 30, f"{says!r} in the status line")
        b.say(next(line.strip() for line in screen.splitlines() if "❄" in line))
    code, out = b.home.frosty("status")
    check(code == 0 and " done " in out and " a wake-up " in out, out)
    b.waiting(refused=2)


SCENARIOS = [statusline]
