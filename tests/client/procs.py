"""What runs: the processes of one isolated home, found by their environment, since engines outlive their parents."""
import os
import signal
import threading
import time

# How much longer than on a machine at rest something may take to come. It is only spent where something fails.
PATIENCE = 3


def _read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


def argv(pid):
    return [a.decode(errors="replace") for a in _read(f"/proc/{pid}/cmdline").split(b"\0")[:-1]]


def alive(pid):
    stat = _read(f"/proc/{pid}/stat")
    return bool(stat) and stat.rsplit(b")", 1)[1].split()[0] not in (b"Z", b"X")


def of_home(home):
    mark = b"\0HOME=" + str(home).encode() + b"\0"
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            if mark in b"\0" + _read(f"/proc/{name}/environ"):
                found.append(int(name))
    return found


def engines(home):
    """Waiting engines: `frosty-hook --wait …`."""
    found = []
    for pid in of_home(home):
        line = argv(pid)
        if line and line[0].endswith("frosty-hook") and "--wait" in line and alive(pid):
            found.append(pid)
    return found


def end(pids, patience=3.0):
    """Ends exactly these, gently first."""
    for sig, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 2.0)):
        for pid in pids:
            try:
                os.kill(pid, sig)
            except OSError:
                pass
        until = time.monotonic() + wait
        while any(map(alive, pids)) and time.monotonic() < until:
            time.sleep(0.05)


class Watch:
    """Looks at the engines ten times a second, and tells for how long two of them were alive together."""

    def __init__(self, home):
        self.home = home
        self.seen = {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self):
        while not self.over.wait(0.1):
            for pid in engines(self.home):
                now = time.monotonic()
                first, _ = self.seen.get(pid, (now, now))
                self.seen[pid] = (first, now)

    def stop(self):
        self.over.set()
        self.thread.join()
        lives = sorted(self.seen.values())
        together = [min(a[1], b[1]) - b[0] for i, a in enumerate(lives) for b in lives[i + 1:]]
        return len(lives), max([0.0, *together])
