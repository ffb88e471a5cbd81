"""The plain engine: it answers at once, and nothing wakes the agent."""
from bench import check
from stub import text

CAP_LIFTED = {"CLAUDE_CODE_STOP_HOOK_BLOCK_CAP": "0"}
# Print mode is left alone without it.
PRINT = {"FROSTY_ON": "print"}


def plain_print_cap_lifted(b):
    b.start(lambda c: text(f"Reply {c.n}."), engine="plain", settings_env=CAP_LIFTED, env=PRINT)
    code, out, seconds = b.home.print_mode("hi")
    calls = len(b.stub.main())
    b.say(f"{calls} calls, exit {code}, {seconds:.1f} s")
    check(code == 0, f"exit {code}: {out}")
    check(calls == 2, f"{calls} calls, not 2")
    check([e.reason for e in b.journal.refusals()] == ["min_interval"], "the second stop was not stood down by the guard")
    b.none_burnt(1)


def plain_print_cap_kept(b):
    """Where no limit of Frosty's speaks, the client's own ends the turn: at the ninth continuation in a row."""
    b.start(lambda c: text(f"Reply {c.n}."), {"stop": {"min_interval": "0s", "burst": None}}, engine="plain", env=PRINT)
    code, out, seconds = b.home.print_mode("hi")
    calls, admitted = len(b.stub.main()), len(b.journal.admissions())
    b.say(f"{calls} calls, {admitted} admissions, exit {code}, {seconds:.1f} s")
    check(code == 0, f"exit {code}: {out}")
    check(calls == 9, f"{calls} calls, not the first and 8 continuations")
    # The ninth was admitted too: the client dropped it, and told nobody.
    check(admitted == 9, f"{admitted} admissions, not 9")


SCENARIOS = [plain_print_cap_lifted, plain_print_cap_kept]
