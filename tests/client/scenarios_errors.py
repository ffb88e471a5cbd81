"""The API fails in mid-loop, nobody at the keyboard."""
import json
import time

import procs
from bench import NotBegun, check, waits
from stub import error, rate_limit, text, unauthorized

POLICY = {"stop": {"min_interval": "1s"}, "api_error": {"base": "2s", "factor": 2, "max": "60s"}}


def _failures(b):
    return [e for e in b.journal.entries() if e.event == "StopFailure" and e.retry_after_ms and e.detail]


def rate_limit_resumes(b):
    b.start(lambda c: rate_limit() if c.n == 3 else text(f"Reply {c.n}."), POLICY)
    b.open().say("Go.")
    calls = b.stub.wait(5, 60, "resumed after the 429, and the loop goes on")
    pause = calls[3].at - calls[2].at
    b.say(f"resumed by itself {pause:.2f} s after the 429")
    check(pause >= 2.0, f"resumed {pause:.2f} s after the 429, within the cooldown of 2 s")


def rate_limits_in_a_row(b):
    b.start(lambda c: rate_limit() if c.n in (2, 3, 4) else text(f"Reply {c.n}."), POLICY, server=True)
    b.open().say("Go.")
    calls = b.stub.wait(6, 90, "resumed after three 429s in a row")
    pauses = [y.at - x.at for x, y in zip(calls[1:4], calls[2:5])]
    booked = [e.retry_after_ms for e in _failures(b)][:3]
    b.say(f"cooldowns booked: {booked} ms; pauses at the API: {', '.join(f'{p:.2f}' for p in pauses)} s")
    check(len(booked) == 3, f"{len(booked)} failures in the journal, not 3")
    for pause, cooldown, least in zip(pauses, booked, (2000, 4000, 8000)):
        check(least - 100 <= cooldown <= least, f"a cooldown of {cooldown} ms, not {least}")
        check(pause * 1000 >= cooldown, f"resumed after {pause:.2f} s, within a cooldown of {cooldown} ms")


def _unauthorized(b, **start):
    """What only a person can mend opens a hold that names the cure; released, the agent goes on."""
    b.start(lambda c: unauthorized() if c.n == 3 else text(f"Reply {c.n}."), POLICY, **start)
    t = b.open()
    t.say("Go.")
    b.stub.wait(3, 60)
    held = b.until(lambda: b.journal.refusals("hold"), 30, "a hold in the journal")[0]
    b.waiting()
    b.quiet(2)
    code, listed = b.home.frosty("release", t.scope)
    released = time.monotonic()
    check(code == 0, f"frosty release: exit {code}: {listed}")
    call = b.stub.wait(4, 30, "goes on after the release")[3]
    b.say(f"hold of {held.retry_after_ms} ms; {listed.strip()}; back {call.at - released:.2f} s after the release")
    for where, told in (("release", listed), ("the prompt", call.last)):
        check("authentication_failed: log in again" in told, f"{where} does not name the cure: …{told[-300:]}")
    check(held.retry_after_ms and held.retry_after_ms > 1_700_000, f"the hold is booked for {held.retry_after_ms} ms, not 30 m")
    b.stub.wait(5, 30, "the loop goes on")


def unauthorized_holds(b):
    _unauthorized(b, server=True)


def unauthorized_holds_without_a_server(b):
    _unauthorized(b)


def rate_limit_unattended(b):
    """In print mode the client ends the hook at once: the failure is booked all the same."""
    b.start(lambda c: rate_limit(), {**POLICY, "api_error": {"base": "60s"}}, env={"FROSTY_ON": "print"})
    code, out, seconds = b.home.print_mode("hi")
    # What the client ended may go on after it.
    b.until(lambda: not procs.of_home(b.home.path), 20, "the end of the hook")
    # Under load the client's SIGTERM comes before the hook can ignore it: then nothing of Frosty's ran.
    if not [e for e in b.journal.entries() if e.event == "StopFailure"]:
        raise NotBegun("the client ended the hook before it could begin")
    failed = _failures(b)
    booked = [(e.detail, e.retry_after_ms) for e in failed]
    b.say(f"exit {code} after {seconds:.1f} s; booked: {booked}")
    check(booked == [("rate_limit", 60_000)], f"booked {booked}: {out}")
    # An engine that holds the client up does so until the cooldown is over.
    held = [e.ms - failed[0].ms for e in b.journal.entries() if e.event == "SessionEnd"]
    check(len(held) == 1 and held[0] < 60_000, f"the session ended {held} ms after the failure")
    calls = len(b.stub.main())
    check(calls == 1 and not b.journal.admissions(), f"{calls} calls, admitted: {b.journal.admissions()}")


def _at_usage_limit(b, switch):
    """After a usage limit one of the two resumes the agent: with an API key that is Frosty, whatever the switch is."""
    reset = 12

    def script(c):
        if c.n == 2:
            return error(429, "rate_limit_error", "You've hit your limit", x_should_retry="false",
                         anthropic_ratelimit_unified_status="rejected",
                         anthropic_ratelimit_unified_representative_claim="five_hour",
                         anthropic_ratelimit_unified_reset=str(int(time.time()) + reset))
        return text("Nothing is left.\n\nfrosty: done" if c.n == 3 else f"Reply {c.n}.")

    b.start(script, POLICY)
    users = b.home.path / ".claude/settings.json"
    users.write_text(json.dumps({"autoContinueAtUsageLimit": switch}))
    t = b.open()
    t.say("Go.")
    calls = b.stub.wait(3, 60, "resumed after the limit")
    # The client's own continuation would come 30 to 90 s after the reset, and is announced until then.
    screen = t.screen()
    check("ontinue automatically" not in screen and "ontinuing" not in screen, f"the client continues by itself: {screen}")
    left = calls[1].at + reset + 8 - time.monotonic()
    b.quiet(max(left, 1))
    admitted = len(b.journal.admissions())
    check(len(b.stub.main()) == 3 and admitted == 2, f"{len(b.stub.main())} calls, {admitted} admissions")
    b.say(f"switch {switch}: resumed once, {calls[2].at - calls[1].at:.1f} s after the limit, by an admission")


@waits
def usage_limit_with_the_clients_switch_on(b):
    _at_usage_limit(b, True)


@waits
def usage_limit_with_the_clients_switch_off(b):
    _at_usage_limit(b, False)


SCENARIOS = [rate_limit_resumes, usage_limit_with_the_clients_switch_on, usage_limit_with_the_clients_switch_off, rate_limits_in_a_row, unauthorized_holds, unauthorized_holds_without_a_server,
             rate_limit_unattended]
