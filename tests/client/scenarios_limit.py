"""The limit of one model: the agents on that model wait, and the others continue."""
import math
import time

from bench import check, waits
from stub import error, text

INTERVAL = 2000
# The limit ends long after the scenario.
LASTS = 900


def opus_limit(resets):
    """The answer of which a client on a subscription makes `You've hit your Opus limit · resets 3:46am (UTC)`."""
    return error(429, "rate_limit_error", "This request would exceed your account's rate limit.", x_should_retry="false",
                 anthropic_ratelimit_unified_status="rejected",
                 anthropic_ratelimit_unified_representative_claim="seven_day_opus",
                 anthropic_ratelimit_unified_reset=str(resets))


@waits
def limit_of_one_model(b):
    """One agent on Opus meets the limit, another one on Opus rests meanwhile, and one on Sonnet works."""
    resets = math.ceil((time.time() + LASTS) / 60) * 60

    def script(c):
        if script.limited and "opus" in c.body["model"]:
            return opus_limit(resets)
        return text("Later.\n\nfrosty: next_check 15s" if "Rest first." in c.last else f"Reply {c.n}.")

    script.limited = False
    b.start(script, {"stop": {"min_interval": f"{INTERVAL}ms", "burst": None}}, server=True, subscription=True)
    prompts = {"meets": "Go.", "rests": "Rest first.", "other": "Go."}
    terminals = {name: b.open("--model", "sonnet" if name == "other" else "opus") for name in prompts}
    session = {}
    for name in ("meets", "other", "rests"):
        terminals[name].say(prompts[name])
        session[name] = b.until(lambda: {c.session for c in b.stub.main()} - set(session.values()), 30, name).pop()
    b.until(lambda: [e for e in b.journal.refusals("rest") if e.session == session["rests"]], 30, "the rest")
    script.limited = True
    met = b.until(lambda: [e for e in b.journal.entries() if e.event == "StopFailure" and e.detail], 30, "the limit")[0]
    check(met.session == session["meets"] and met.retry_after_ms > 600_000, f"met: {met}")
    known = b.until(lambda: [e for e in b.journal.refusals("api_error") if e.session == session["rests"]], 60,
                    "the other agent on Opus is refused")[0]
    b.until(lambda: len([e for e in b.journal.admissions(session["other"]) if e.ms > known.ms]) >= 4, 60, "Sonnet continues")
    on_opus = [e for name in ("meets", "rests") for e in b.journal.admissions(session[name]) if e.ms > met.ms]
    check(not on_opus, f"admitted on Opus: {[str(e) for e in on_opus]}")
    tried = [c for c in b.stub.main() if c.status == 429]
    check(len(tried) == 1, f"{len(tried)} calls met the limit")
    b.say(f"limit met until {met.retry_after_ms // 1000} s later; the other agent on Opus waits {known.retry_after_ms // 1000} s; "
          f"{len([e for e in b.journal.admissions(session['other']) if e.ms > met.ms])} turns on Sonnet meanwhile")

    # A person tries again, and the model answers.
    script.limited = False
    terminals["meets"].say("Try again.")
    back = b.until(lambda: [e for e in b.journal.admissions(session["rests"]) if e.ms > known.ms], 60, "the limit is lifted")[0]
    b.until(lambda: [e for e in b.journal.admissions(session["meets"]) if e.ms > met.ms], 60, "the agent that met it continues")
    answered = [e for e in b.journal.entries() if e.event == "Stop" and e.session == session["meets"] and e.ms > met.ms][0]
    b.say(f"the other agent on Opus is back {back.ms - answered.ms} ms after the answer to a person")
    check(answered.turn == "human" and back.ms >= answered.ms, f"back before the answer: {answered}")


SCENARIOS = [limit_of_one_model]
