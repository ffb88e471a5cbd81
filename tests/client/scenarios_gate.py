"""A shell loop with `frosty gate` and the real client in print mode as its command."""
import subprocess
import time

import procs
from bench import check, waits
from home import client, frosty
from stub import rate_limit, text

LOOP = """
while true; do
  '{frosty}' gate --name loop --wait -- '{client}' -p 'Go on.'
  code=$?; echo "code $code"
  [ $code = 3 ] && break
done
"""


def _loop(b):
    script = LOOP.format(frosty=frosty(), client=client())
    return subprocess.Popen(["bash", "-c", script], cwd=b.home.project, env=b.home.env, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _ends(b, loop, seconds):
    out, _ = loop.communicate(timeout=seconds * procs.PATIENCE)
    b.say(out.strip())
    return out


@waits
def gate_loop_until_done(b):
    """Each call is an admission, they are the minimum interval apart, and `frosty: done` ends the loop."""
    b.start(lambda c: text(f"Reply {c.n}." + ("\n\nfrosty: done" if c.n == 4 else "")), {"stop": {"min_interval": "4s"}})
    out = _ends(b, _loop(b), 90)
    calls = b.stub.main()
    gaps = [after.at - before.at for before, after in zip(calls, calls[1:])]
    b.say("gaps: " + ", ".join(f"{gap:.2f} s" for gap in gaps))
    check(len(calls) == 4 and len(b.journal.admissions()) == 4, f"{len(calls)} calls, {len(b.journal.admissions())} admissions")
    check(all(gap >= 4.0 for gap in gaps), f"calls too close together: {gaps}")
    check(out.count("code 0") == 4 and "code 3" in out, "the loop did not end by code 3")


@waits
def gate_loop_survives_quota_and_server(b):
    """The loop waits for a quota and outlasts a killed server. This machine's files may use the quota once more."""
    policy = {"stop": {"min_interval": "2s", "quotas": [{"limit": 2, "per": "60s"}]}}
    b.start(lambda c: text(f"Reply {c.n}." + ("\n\nfrosty: done" if c.n == 3 else "")), policy, server=True, server_keeps=True)
    loop = _loop(b)
    b.stub.wait(2, 60)
    b.until(lambda: b.journal.refusals("quota"), 30, "a refusal by the quota")
    b.server.kill()
    time.sleep(5)
    b.server.start()
    _ends(b, loop, 150)
    calls = b.stub.main()
    check(len(calls) == 3, f"{len(calls)} calls")
    gaps = [after.at - before.at for before, after in zip(calls, calls[1:])]
    b.say("gaps: " + ", ".join(f"{gap:.2f} s" for gap in gaps))
    # The interval begins with the prompt, and the client sends its call a moment later.
    check(all(gap >= 1.9 for gap in gaps), f"calls too close together: {gaps}")


@waits
def gate_loop_waits_out_a_quota(b):
    """A quota is waited out: of a minute, or of 20 s in the short run."""
    per = 60 if b.long else 20
    policy = {"stop": {"min_interval": "2s", "quotas": [{"limit": 2, "per": f"{per}s"}]}}
    b.start(lambda c: text(f"Reply {c.n}." + ("\n\nfrosty: done" if c.n == 3 else "")), policy, server=True)
    _ends(b, _loop(b), 150)
    at = [entry.ms for entry in b.journal.admissions()]
    check(len(at) == 3 and len(b.stub.main()) == 3, f"{len(at)} admissions, {len(b.stub.main())} calls")
    gap = at[2] - at[0]
    b.say(f"the third admission came {gap / 1000:.3f} s after the first")
    check(gap >= per * 1000, "the quota was exceeded")


@waits
def gate_loop_backs_off(b):
    """The API refuses every call: no storm, whatever the loop does."""
    b.start(lambda c: rate_limit(), {"stop": {"min_interval": "1s"}, "api_error": {"base": "6s", "max": "60s"}})
    loop = _loop(b)
    time.sleep(30)
    loop.kill()
    b.home.end()
    calls = b.stub.main()
    b.say(f"{len(calls)} calls in 30 s")
    check(2 <= len(calls) <= 3, f"{len(calls)} calls in 30 s, where 6 s and 12 s lie between them")


SCENARIOS = [gate_loop_until_done, gate_loop_survives_quota_and_server, gate_loop_waits_out_a_quota, gate_loop_backs_off]
