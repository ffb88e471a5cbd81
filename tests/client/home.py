"""A home of its own for one scenario: nothing of the machine's user is seen by the client, and nothing of it stays."""
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import procs

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-ant-dummy"
# With a token in place of the key the client believes that it has a subscription, and reads the usage windows.
TOKEN = "sk-ant-oat01-dummy"


def client():
    return os.environ["CLIENT_BIN"]


def frosty():
    return os.environ["FROSTY_BIN"]


def hook():
    """The hook binary, beside the tool."""
    return str(Path(frosty()).with_name("frosty-hook"))


class Home:
    def __init__(self, stub, policy, engine="continuous", env=None, settings_env=None, allow=None, subscription=False):
        # Short, for the path of tmux's socket.
        self.path = Path(tempfile.mkdtemp(prefix="fc-", dir="/tmp"))
        self.project = self.path / "proj"
        (self.project / ".claude").mkdir(parents=True)
        (self.path / ".claude").mkdir()
        (self.path / "tmp").mkdir()
        self.env = {
            "HOME": str(self.path), "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            # Else the client shares /tmp/claude-<uid> with whoever runs it besides.
            "TMPDIR": str(self.path / "tmp"), "CLAUDE_CODE_TMPDIR": str(self.path / "tmp"),
            "TERM": "xterm-256color", "LANG": "C.UTF-8", "SHELL": "/bin/bash",
            **({"CLAUDE_CODE_OAUTH_TOKEN": TOKEN} if subscription else {"ANTHROPIC_API_KEY": KEY}),
            "ANTHROPIC_BASE_URL": stub.url,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1",
            **(env or {}),
        }
        settings = {"plain": plain, "continuous": continuous, "none": dict}.get(engine, engine)()
        settings.update({"env": settings_env} if settings_env else {})
        # In auto mode the client sets such rules aside and asks its own servers, which are not here.
        settings["permissions"] = {"defaultMode": "default", "allow": allow or []}
        self._write(self.project / ".claude/settings.json", settings)
        self.policy = policy
        self.set_policy()
        self._write(self.path / ".claude.json", {
            "hasCompletedOnboarding": True, "theme": "dark", "numStartups": 5,
            "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
            "projects": {str(self.project): {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
        })

    def set_policy(self, **change):
        """Writes the user's configuration; hooks that are started from now on read it."""
        self.policy = {**self.policy, **change}
        new = self.path / ".claude/frosty.json.new"
        self._write(new, self.policy)
        new.rename(self.path / ".claude/frosty.json")

    @staticmethod
    def _write(path, value):
        path.write_text(json.dumps(value, indent=1))

    def print_mode(self, *args, timeout=60, env=None):
        """`claude -p …`: exit code, output, seconds."""
        start = time.monotonic()
        done = subprocess.run(
            [client(), "-p", *args], cwd=self.project, env={**self.env, **(env or {})}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout * procs.PATIENCE)
        return done.returncode, done.stdout + done.stderr, time.monotonic() - start

    def frosty(self, *args, timeout=20):
        done = subprocess.run([frosty(), *args], cwd=self.project, env=self.env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout * procs.PATIENCE)
        return done.returncode, done.stdout + done.stderr

    def end(self):
        """Ends whatever runs with this home. The looks are repeated: what is being ended may start something."""
        for _ in range(5):
            pids = procs.of_home(self.path)
            if not pids:
                return
            procs.end(pids)

    def close(self):
        self.end()
        shutil.rmtree(self.path, ignore_errors=True)


def _example(name):
    """The shipped registration, with the hook binary under test in place of the one on PATH."""
    settings, binary = json.loads((ROOT / "hooks" / name).read_text()), hook()
    for groups in settings["hooks"].values():
        for group in groups:
            for entry in group["hooks"]:
                assert entry["command"] == "frosty-hook", f"{name}: {entry}"
                entry["command"] = binary
    return settings


def plain():
    return _example("settings.example.json")


def continuous():
    return _example("continuous.example.json")


def brief(wait):
    """The continuous engine with another wait."""
    settings = continuous()
    for event in ("Stop", "StopFailure"):
        args = settings["hooks"][event][0]["hooks"][0]["args"]
        args[args.index("--wait") + 1] = wait
    return settings


def synchronous():
    """For clients without asyncRewake: the client stands and waits with the engine."""
    settings = continuous()
    settings["hooks"]["Stop"][0]["hooks"][0].pop("asyncRewake")
    settings["hooks"]["StopFailure"] = settings["hooks"]["SessionEnd"]
    settings["env"] = {"CLAUDE_CODE_STOP_HOOK_BLOCK_CAP": "0"}
    return settings


def old_script():
    """What people had: an exit 2 without a question."""
    hook = {"type": "command", "command": "echo going on; echo 'Continue your task.' >&2; exit 2", "timeout": 10}
    return {"hooks": {"Stop": [{"hooks": [hook]}]}, "env": {"CLAUDE_CODE_STOP_HOOK_BLOCK_CAP": "0"}}
