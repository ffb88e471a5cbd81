"""A redis-server of the scenario's own, and one way to ask it."""
import shutil
import socket
import subprocess
import tempfile
import time


class Server:
    def __init__(self, keeps=False):
        """`keeps`: what it knew survives its death."""
        self.keeps = keeps
        self.dir = tempfile.mkdtemp(prefix="fc-server-", dir="/tmp")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--appendonly", "yes" if self.keeps else "no", "--appendfsync", "always"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.dir)
        end = time.monotonic() + 60
        while True:
            try:
                if self.ask("PING") == "PONG":
                    return
            except (OSError, AssertionError):
                pass  # not there yet, or it still loads its data
            if time.monotonic() > end:
                raise AssertionError("redis-server does not answer")
            time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def close(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def ask(self, *words):
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            out = b"*%d\r\n" % len(words)
            for w in words:
                w = str(w).encode()
                out += b"$%d\r\n%s\r\n" % (len(w), w)
            s.sendall(out)
            with s.makefile("rb") as answer:
                return _read(answer)


def _read(f):
    line = f.readline()
    kind, rest = line[:1], line[1:-2].decode()
    if kind == b"+":
        return rest
    if kind == b"-":
        raise AssertionError(f"redis-server: {rest}")
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == "-1" else f.read(int(rest) + 2)[:-2].decode(errors="replace")
    if kind == b"*":
        return None if rest == "-1" else [_read(f) for _ in range(int(rest))]
    raise OSError("no answer")
