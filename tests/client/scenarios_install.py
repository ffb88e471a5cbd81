"""Put in and taken out: what `frosty install` registers, the plugin and its commands, and a program that is gone."""
import json
import re
import shutil
import subprocess

from bench import check
from home import ROOT, client, frosty, hook
from stub import text

OPEN = {"stop": {"min_interval": "1s"}}


def _replies(c):
    return text(f"Reply {c.n}.")


def _own_program(b):
    """A copy of both programs that can be taken away."""
    path = b.home.path / "bin/frosty"
    path.parent.mkdir()
    shutil.copy(frosty(), path)
    shutil.copy(hook(), path.with_name("frosty-hook"))
    return path


def _run(b, program, *args, cwd=None):
    done = subprocess.run([program, *args], cwd=cwd or b.home.project, env=b.home.env, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    check(done.returncode == 0, f"frosty {' '.join(args)}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def installed_and_taken_out(b):
    """A project with the continuous engine loops; another one is never touched; taken out, nothing is left."""
    b.start(_replies, OPEN, engine="none")
    settings = b.home.project / ".claude/settings.json"
    before = settings.read_bytes()
    program = _own_program(b)
    _run(b, program, "install")
    t = b.open()
    t.say("Go.")
    b.stub.wait(4, 60, "three continuations")
    t.say("/exit")
    t.gone()
    b.no_engine()
    gaps, journaled = b.journal.gaps(), len(b.journal.entries())
    check(min(gaps) >= 1000, f"admissions {gaps} ms apart")
    calls = len(b.stub.main())
    check(len(b.journal.admissions()) in (calls - 1, calls), f"{len(b.journal.admissions())} admissions, {calls} calls")

    other = b.home.path / "other"
    other.mkdir()
    done = subprocess.run([client(), "-p", "hi"], cwd=other, env=b.home.env, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=180)
    check(done.returncode == 0 and len(b.stub.main()) == calls + 1, f"the other project: {done}")
    check(len(b.journal.entries()) == journaled, "a project without Frosty was journaled")
    check(list(other.iterdir()) == [], "something was written into the other project")

    _run(b, program, "uninstall")
    check(settings.read_bytes() == before, "the settings are not what they were")
    b.home.print_mode("hi")
    check(len(b.stub.main()) == calls + 2, "continued after uninstall")
    check(len(b.journal.entries()) == journaled, "journaled after uninstall")
    b.say(f"{calls - 1} continuations {gaps} ms apart; none in another project, none after uninstall")


def user_install_waits_for_on(b):
    """In user settings: no session is continued until it is armed."""
    b.start(_replies, OPEN, engine="none")
    _run(b, _own_program(b), "install", "--user")
    t = b.open()
    t.say("Go.")
    session = b.stub.wait(1, 30)[0].session
    b.quiet(2)
    check(not b.journal.entries(), "an unarmed session was journaled")
    b.home.frosty("on", "--session", session)
    t.say("Go on.")
    b.stub.wait(4, 60, "two continuations after `frosty on`")
    b.home.frosty("off", "--session", session)
    b.say("1 call while unarmed, continued after frosty on")


def _gone(b, *engine):
    b.start(_replies, OPEN, engine="none")
    program = _own_program(b)
    _run(b, program, "install", *engine)
    program.unlink()
    registered = program.with_name("frosty-hook")
    registered.unlink()
    return registered


def program_gone_plain(b):
    program = _gone(b, "--plain")
    code, out, _ = b.home.print_mode("hi")
    check(code == 0 and "Reply 1." in out, f"exit {code}: {out}")
    check(len(b.stub.main()) == 1, f"{len(b.stub.main())} calls, not 1")
    check(str(program) in out, f"nobody is told that {program} is gone: {out}")
    b.home.print_mode("--continue", "/compact")
    check(len(b.stub.of("summary")) == 1, "the compaction was blocked")
    b.say("program gone, plain: 1 call, the turn ends, exit 0; the client names the path; a compaction passes")


def program_gone_continuous(b):
    _gone(b)
    t = b.open()
    t.say("Go.")
    b.stub.wait(1, 30)
    b.quiet(2)
    t.say("Again.")
    b.stub.wait(2, 30, "the next prompt")
    t.until(lambda s: "Reply 2." in s, 30, "Reply 2.")
    b.quiet(2)
    check("Reply 2." in t.screen(), "the answer is not on the screen")
    b.say("program gone, continuous: each prompt is answered once, and the agent stops")


def _plugin(b, script=_replies, **policy):
    """The plugin from this folder, the hook binary on the PATH, and a `frosty` there that records its command lines."""
    b.start(script, {"stop": {"min_interval": "1h"}, **policy}, engine="none")
    folder = b.home.path / "bin"
    folder.mkdir()
    log = b.home.path / "called"
    wrapper = folder / "frosty"
    wrapper.write_text(f'#!/usr/bin/env python3\nimport json, os, sys\n'
                       f'open({str(log)!r}, "a").write(json.dumps(sys.argv[1:]) + "\\n")\n'
                       f'os.execv({frosty()!r}, ["frosty", *sys.argv[1:]])\n')
    wrapper.chmod(0o755)
    (folder / "frosty-hook").symlink_to(hook())
    b.home.env["PATH"] = f"{folder}:{b.home.env['PATH']}"

    def called():
        return [json.loads(line) for line in log.read_text().splitlines()]
    return called


# A session that ends with its turn is left alone without it.
PRINT = {"FROSTY_ON": "print"}


def _say(b, prompt, env=None):
    """The last of what the agent was told, or nothing where no call was made; and what the client said."""
    before = len(b.stub.main())
    _, out, _ = b.home.print_mode(prompt, "--plugin-dir", str(ROOT), env=env)
    calls = b.stub.main()[before:]
    return (calls[0].last if calls else ""), out, len(calls)


def plugin_arms_and_disarms(b):
    called = _plugin(b)
    _, _, calls = _say(b, "hi")
    check(calls == 1 and not b.journal.entries(), "an unarmed session was continued or journaled")
    told, out, calls = _say(b, "/frosty:on", PRINT)
    session = b.stub.main()[-1].session
    check(called() == [["on", "--session", session]], f"called {called()}")
    # It is shown by its project's folder and the first digits of its id.
    check(f"session {b.home.project.name}-{session[:4]} armed" in told, f"the agent was told: …{told[-500:]} ({out})")
    check(calls == 2 and len(b.journal.admissions()) == 1, f"{calls} calls after /frosty:on, not 2")
    told, out, calls = _say(b, "/frosty:off", PRINT)
    check(called()[-1][0] == "off" and "disarmed" in told and calls == 1, f"{calls} calls: …{told[-500:]} ({out})")
    b.say("plugin: unarmed 1 call; /frosty:on 2 calls, the second by an admission; /frosty:off 1 call")


def plugin_done(b):
    """The person's word goes by the agent's own line."""
    def script(c):
        return text("Nothing is left.\n\nfrosty: done" if "frosty: done" in c.last else f"Reply {c.n}.")

    _plugin(b, script, stop={"min_interval": "0s"})
    b.home.env.update(PRINT)
    told, out, calls = _say(b, "/frosty:done")
    check(calls == 1 and [e.reason for e in b.journal.refusals()] == ["done"], f"{calls} calls: {out}; {b.journal.tail()}")
    b.say("/frosty:done: 1 call, the stop rests as done")


def plugin_commands_run_what_they_say(b):
    """What a person writes behind a command never reaches a shell."""
    called = _plugin(b)
    trap = b.home.path / "ran"
    words = f"it's \"due\" $(touch {trap}) `touch {trap}` !`touch {trap}` ; touch {trap}"
    own = "11111111-2222-4333-8444-555555555555"
    for command, argv in {
        "status": ["status"], "release": ["release", own], "hold": ["hold", own, "--reason", "held with /frosty:hold"],
    }.items():
        _, out, calls = b.home.print_mode(f"/frosty:{command} {words}", "--plugin-dir", str(ROOT), "--session-id", own)
        check(called()[-1] == argv, f"/frosty:{command} called {called()} ({out})")
        shutil.rmtree(b.home.path / ".claude/projects", ignore_errors=True)  # the session's id may be used again
    check(not trap.exists(), "a word of the person's was run")
    told, out, _ = _say(b, "/frosty:status")
    # What stands beside it is the time, with the zone.
    shows = re.split(r"\s+\d\d:\d\d", b.home.frosty("status")[1].strip().splitlines()[0])[0]
    check(shows in told, f"told: …{told[-600:]} ({out})")
    b.say(f"called {called()}; nothing else was run")


SCENARIOS = [installed_and_taken_out, user_install_waits_for_on, program_gone_plain, program_gone_continuous,
             plugin_arms_and_disarms, plugin_done, plugin_commands_run_what_they_say]
