#!/usr/bin/env python3
"""The soak: main.py [minutes]. See tests/soak.sh."""
import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import time

import audit
from agents import Agent, RUNNING
from faults import Faults
from server import Server, free_port

SCOPES = int(os.environ.get("SOAK_SCOPES", "50"))
INTERVAL = 2.0
# After the last fault: the slowest probe and the slowest engine, the longest cooldown, and a guard.
BACK = 20 * INTERVAL
CONFIG = {
    "fleet": "soak",
    "stop": {"min_interval": "2s", "burst": {"limit": 5, "window": "10s"},
             "cooldown": {"base": "4s", "factor": 2, "max": "8s", "jitter": 0.2, "calm": "30s"}},
    "api_error": {"base": "3s", "factor": 2, "max": "6s"},
    # Impatient hooks trip a scope more often than five times in a day, and a hold of an hour would outlast the run.
    "hold_after_strikes": 0,
    "journal_max": 1000000,
    # The quiet minute is longer than the soak waits for its agents at the end.
    "person": {"quiet": "0s"},
}
SHOWN = 12


class Soak:
    def __init__(self, minutes):
        self.minutes = minutes
        self.seed = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randint(1, 10 ** 9)
        self.folder = tempfile.mkdtemp(prefix="frosty-soak-")
        self.home = os.path.join(self.folder, "home")
        self.state = os.path.join(self.home, ".local/state/frosty")
        os.makedirs(os.path.join(self.home, ".claude"))
        self.server = Server(self.folder)
        port = free_port(27000 + os.getpid() % 900)
        with open(os.path.join(self.home, ".claude/frosty.json"), "w") as f:
            json.dump({**CONFIG, "store": f"redis://127.0.0.1:{port}"}, f)
        chance = random.Random(self.seed)
        self.faults = Faults(self.server, port, chance)
        self.agents = [Agent(self.home, n, random.Random(chance.random())) for n in range(SCOPES)]
        self.local = audit.LocalJournal(os.path.join(self.state, "soak"))
        self.calm = asyncio.Lock()

    async def run(self):
        print(f"{SCOPES} scopes, {self.minutes:g} minutes, seed {self.seed}, in {self.folder}", flush=True)
        await self.faults.start()
        lives = [asyncio.create_task(a.live()) for a in self.agents]
        typing = [asyncio.create_task(a.prompts()) for a in self.agents]
        progress = asyncio.create_task(self.progress())
        reading = asyncio.create_task(self.reading())
        end = time.monotonic() + self.minutes * 60
        while time.monotonic() < end:
            await asyncio.sleep(self.faults.chance.uniform(1, 7))
            async with self.calm:
                await self.faults.one()
        over = time.monotonic()
        print(f"the last fault is over; {BACK:g} s for everybody to come back", flush=True)
        await asyncio.sleep(BACK)
        for task in (*typing, progress, reading):
            task.cancel()
        stuck = [a.scope for a in self.agents if not a.admitted or a.admitted[-1] < over]
        for agent in self.agents:
            agent.leave()
        await asyncio.wait(lives, timeout=20)
        # Whatever was decided last is on the server with the next hooks.
        for agent in self.agents[:10]:
            await agent.tell("Notification")
        await asyncio.sleep(1)
        return self.report(stuck)

    async def reading(self):
        """Before anything is trimmed or rotated away."""
        while True:
            await asyncio.sleep(3)
            await self.read()

    async def read(self):
        async with self.calm:
            await self.faults.aside(self.server.read)
        self.local.read()

    async def progress(self):
        began = time.monotonic()
        while True:
            await asyncio.sleep(60)
            await self.read()
            own, _, here = audit.gather(self.server, self.local)
            by_scope, _, _ = audit.admissions(own, here, self.agents)
            over = audit.over_admissions(by_scope, own, here, INTERVAL * 1000)
            print(f"{(time.monotonic() - began) / 60:4.0f} min: {sum(self.faults.counts.values())} faults, "
                  f"{sum(map(len, by_scope.values()))} admissions ({sum(e['store'] == 'embedded' for s in by_scope.values() for e in s)} "
                  f"without the server), {len(over)} too many, {len(RUNNING)} processes, "
                  f"{sum(len(a.odd) for a in self.agents)} oddities, load {os.getloadavg()[0]:.1f}", flush=True)

    def report(self, stuck):
        self.server.read()
        self.local.read()
        own, shipped, here = audit.gather(self.server, self.local)
        by_scope, burnt, unearned = audit.admissions(own, here, self.agents)
        count = sum(map(len, by_scope.values()))
        wrong = {
            "over-admissions": audit.over_admissions(by_scope, own, here, INTERVAL * 1000),
            "agents that never came back": stuck,
            "oddities of agents": [o for a in self.agents for o in a.odd],
            "told to go on without an admission": unearned,
            "journal gaps": audit.gaps(own, shipped, here, self.agents),
            "leaked files": audit.files(self.state),
            "leaked processes": audit.processes(self.home),
            "leaked keys": audit.keys(self.server),
        }
        print(f"faults: {', '.join(f'{n} {c}' for n, c in sorted(self.faults.counts.items()))}")
        allowed = SCOPES * (self.minutes * 60 + BACK) / INTERVAL
        without = sum(e["store"] == "embedded" for s in by_scope.values() for e in s)
        print(f"admissions: {count} of at most {allowed:.0f} by the guard; {count - without} by the server, {without} by the "
              f"embedded store; besides, {len(burnt)} burnt (decided, and nobody was there to hear of it)")
        print(f"entries: {len(own)} of the server, {len(here)} of the embedded store, {len(shipped)} shipped; "
              f"plain hooks: {sum(len(a.plain) for a in self.agents)}, the slowest {max(a.slowest_plain for a in self.agents) * 1000:.0f} ms")
        for what, found in wrong.items():
            print(f"{what}: {len(found)}")
            for one in found[:SHOWN]:
                print(f"    {one}")
        return not any(wrong.values())

    async def close(self, good):
        for agent in self.agents:
            agent.leave()
        await self.faults.close()
        self.server.signal(18)
        self.server.kill()
        if good:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"kept: {self.folder}")


async def main():
    soak = Soak(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0)
    good = False
    try:
        good = await soak.run()
    finally:
        await soak.close(good)
    return 0 if good else 1


sys.exit(asyncio.run(main()))
