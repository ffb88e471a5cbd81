"""What goes wrong, at random, one fault at a time."""
import asyncio
import signal
import sys


class Faults:
    def __init__(self, server, port, chance):
        self.server, self.port, self.chance = server, port, chance
        self.counts = {}
        self.process = None

    async def start(self):
        here = __file__.rsplit("/", 1)[0]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-B", f"{here}/proxy.py", str(self.port), str(self.server.port), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE)
        await self.process.stdout.readline()

    async def close(self):
        self.process.kill()
        await self.process.wait()

    async def proxy(self, mode):
        self.process.stdin.write((mode + "\n").encode())
        await self.process.stdin.drain()
        await self.process.stdout.readline()

    async def aside(self, what):
        return await asyncio.get_running_loop().run_in_executor(None, what)

    async def killed(self, empty):
        await self.aside(self.server.kill)
        await self.lasts()
        if empty:
            await self.aside(self.server.wipe)
        await self.aside(self.server.start)

    async def through(self, mode):
        await self.proxy(mode)
        await self.lasts()
        await self.proxy("pass")

    async def frozen(self):
        self.server.signal(signal.SIGSTOP)
        await self.lasts()
        self.server.signal(signal.SIGCONT)

    async def scripts(self):
        for _ in range(10):
            await self.aside(lambda: self.server.ask("SCRIPT", "FLUSH"))
            await asyncio.sleep(0.2)

    async def lasts(self):
        await asyncio.sleep(self.chance.choice([0.3, 1, 2, 4, 8]) * self.chance.uniform(0.7, 1.3))

    async def one(self):
        c = self.chance
        name, fault = c.choice([
            ("killed", lambda: self.killed(False)),
            ("killed and emptied", lambda: self.killed(True)),
            ("flushed", lambda: self.aside(self.server.flush)),
            ("scripts flushed", self.scripts),
            ("frozen", self.frozen),
            ("refused", lambda: self.through("refuse")),
            ("silent", lambda: self.through("silent")),
            ("cut", lambda: self.through(f"cut {c.choice([0, 1, 5, 30, 80])}")),
            ("slow", lambda: self.through(f"delay {c.choice([20, 80, 170, 300, 700])}")),
            ("drip", lambda: self.through(f"drip {c.choice([1, 20])}")),
            ("garbage", lambda: self.through(f"garbage {c.randint(0, 5)}")),
        ])
        await fault()
        self.counts[name] = self.counts.get(name, 0) + 1
