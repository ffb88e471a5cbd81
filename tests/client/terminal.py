"""The client at a terminal: a tmux server of its own, keys in, screen out."""
import itertools
import os
import subprocess
import time

import procs
from home import client

_count = itertools.count(1)


class Terminal:
    def __init__(self, home, *args, env=None):
        self.home = home
        self.name = f"fc{os.getpid()}n{next(_count)}"
        # The socket lies in the home, so that no server of the machine's user is ever spoken to.
        self.env = {**home.env, **(env or {}), "TMUX_TMPDIR": str(home.path)}
        # remain-on-exit: the last screen can still be read after the client is gone.
        self._tmux("-f", "/dev/null", "start-server", ";", "set-option", "-g", "remain-on-exit", "on", ";",
                   "new-session", "-d", "-x", "150", "-y", "45", client(), *args)
        self.pid = int(self._tmux("display-message", "-p", "#{pane_pid}"))
        # The scope is named by tmux's socket and pane.
        self.scope = f"tmux-{self.name}-p{self._tmux('display-message', '-p', '#{pane_id}').strip().lstrip('%')}"

    def ready(self):
        self.until(lambda s: box(s) is not None, 60, "prompt box of the client")

    def _tmux(self, *args):
        done = subprocess.run(["tmux", "-L", self.name, *args], env=self.env, cwd=self.home.project,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
        if done.returncode:
            raise AssertionError(f"tmux {args[0]}: {done.stderr.strip()}")
        return done.stdout

    def pane(self):
        """What a program in this pane finds in its environment."""
        socket, pid, pane = self._tmux("display-message", "-p", "#{socket_path} #{pid} #{pane_id}").split()
        return {"TMUX": f"{socket},{pid},0", "TMUX_PANE": pane}

    def screen(self):
        return self._tmux("capture-pane", "-p").rstrip()

    def until(self, holds, timeout, what):
        timeout *= procs.PATIENCE
        end = time.monotonic() + timeout
        while True:
            screen = self.screen()
            if holds(screen):
                return screen
            if time.monotonic() > end:
                raise AssertionError(f"no {what} on the screen in {timeout} s")
            time.sleep(0.2)

    def type(self, words):
        self._tmux("send-keys", "-l", words)
        # Typed and Enter in one breath is a paste to the client.
        self.until(lambda s: words[:40] in (box(s) or ""), 20, f"typed {words[:40]!r}")
        time.sleep(0.4)

    def say(self, words):
        self.type(words)
        before = box(self.screen())
        self.key("Enter")
        # Taken once the box shows something else, or there is no box any more.
        self.until(lambda s: not procs.alive(self.pid) or box(s) != before, 20, f"sent {words[:40]!r}")

    def key(self, name):
        self._tmux("send-keys", name)

    def gone(self, timeout=20):
        timeout *= procs.PATIENCE
        end = time.monotonic() + timeout
        while procs.alive(self.pid):
            if time.monotonic() > end:
                raise AssertionError(f"the client still runs after {timeout} s")
            time.sleep(0.05)


def box(screen):
    """What stands in the prompt box, or None without one."""
    lines = [line for line in screen.splitlines() if line.startswith("❯")]
    return lines[-1][1:].strip() if lines else None
