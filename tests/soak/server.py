"""The soak's redis-server: it is killed, frozen, and loses its data; what its journal held is never lost to the audit."""
import os
import shutil
import signal
import socket
import subprocess
import time

STREAM = "torch.continuous.ops"


def free_port(base):
    """Below the range that the system gives to connections, so that it stays free while its server is down."""
    for port in range(base, base + 500):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise AssertionError("no free port")


class Server:
    def __init__(self, folder):
        self.dir = os.path.join(folder, "server")
        os.mkdir(self.dir)
        self.port = free_port(28000 + os.getpid() % 1000)
        self.process = None
        # What was read of its journal: (how often it has lost its data, the entry's id) -> the entry.
        self.epoch = 0
        self.seen = {}
        self.last = "-"
        self.start()

    def launch(self, port):
        process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
             "--appendfsync", "always"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.dir)
        end = time.monotonic() + 30
        while True:
            try:
                if ask(port, "PING") == "PONG":
                    return process
            except (OSError, ServerError):
                pass
            if time.monotonic() > end:
                raise AssertionError("redis-server does not answer")
            time.sleep(0.02)

    def start(self):
        self.process = self.launch(self.port)

    def ask(self, *words):
        return ask(self.port, *words)

    def signal(self, what):
        self.process.send_signal(what)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def wipe(self):
        """Takes a killed server's data away, having read its journal to the last entry."""
        port = free_port(29500)
        last = self.launch(port)
        self.read(port)
        last.kill()
        last.wait(20)
        self._forget()

    def flush(self):
        """`FLUSHALL`, and nothing between it and the last look at the journal."""
        entries = ask_all(self.port, [["MULTI"], ["XRANGE", STREAM, self._next(), "+"], ["FLUSHALL"], ["EXEC"]])[3][0]
        self._take(entries)
        self._forget(wipe=False)

    def _forget(self, wipe=True):
        if wipe:
            shutil.rmtree(self.dir)
            os.mkdir(self.dir)
        self.epoch += 1
        self.last = "-"

    def _next(self):
        return self.last if self.last == "-" else "(" + self.last

    def read(self, port=None):
        self._take(ask(port or self.port, "XRANGE", STREAM, self._next(), "+"))

    def _take(self, entries):
        for entry_id, fields in entries:
            self.seen[self.epoch, entry_id] = dict(zip(fields[::2], fields[1::2]))
            self.last = entry_id


class ServerError(Exception):
    pass


def ask(port, *words):
    return ask_all(port, [words])[0]


def ask_all(port, calls):
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        out = b""
        for words in calls:
            out += b"*%d\r\n" % len(words)
            for w in words:
                w = str(w).encode()
                out += b"$%d\r\n%s\r\n" % (len(w), w)
        s.sendall(out)
        with s.makefile("rb") as answer:
            return [_read(answer) for _ in calls]


def _read(f):
    line = f.readline()
    if not line:
        raise OSError("the connection ended")
    kind, rest = line[:1], line[1:-2].decode()
    if kind == b"+":
        return rest
    if kind == b":":
        return int(rest)
    if kind == b"$":
        if rest == "-1":
            return None
        return f.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return [_read(f) for _ in range(max(int(rest), 0))]
    raise ServerError(rest)
