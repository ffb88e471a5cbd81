"""Agents: what the client does around `frosty hook`, for one scope each."""
import asyncio
import json
import os
import random
import signal
import time

RUNNING = set()


class Agent:
    """One seat. Its engine waits; admitted, the agent takes a short turn and stops again."""

    def __init__(self, home, number, chance):
        self.home, self.number, self.chance = home, number, chance
        self.scope = f"seat-{number:02}"
        self.sessions = 0
        self.session = self._fresh()
        self.admitted = []       # when, by the monotonic clock
        self.two = {}            # from when to when each session's hooks ran that were told to go on (this machine's clock)
        self.plain = []          # (session, exit code, what it said) of each plain hook
        self.said = ""
        self.odd = []            # what must not happen
        self.slowest_plain = 0.0
        self.engine = None
        self.replaced = False
        self.prompting = 0       # prompts on their way
        self.over = False

    def _fresh(self):
        self.sessions += 1
        return f"{self.scope}-{self.sessions}"

    def _env(self, session):
        return {"HOME": self.home, "PATH": "/usr/bin:/bin", "CLAUDE_PROJECT_DIR": self.home, "FROSTY_SCOPE": self.scope,
                "CLAUDE_PID": str(os.getpid()), "CLAUDE_CODE_SESSION_ID": session, "CLAUDE_CODE_SESSION_ATTENDED": "1",
                "CLAUDE_CODE_ENTRYPOINT": "cli"}

    async def _start(self, session, event, waits, **more):
        args = ["hook", "--wait", "20d", "--timeout", "1900000"] if waits else ["hook"]
        # Filled and closed before it starts: a hook must not wait for this process on a busy machine.
        payload, write = os.pipe()
        os.write(write, json.dumps({"session_id": session, "hook_event_name": event, **more}).encode())
        os.close(write)
        try:
            process = await asyncio.create_subprocess_exec(
                os.environ["FROSTY_BIN"], *args, cwd=self.home, env=self._env(session), stdin=payload,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        finally:
            os.close(payload)
        RUNNING.add(process.pid)
        return process

    async def _end(self, process):
        out, err = await process.communicate()
        RUNNING.discard(process.pid)
        return process.returncode, err.decode(errors="replace").strip()

    async def tell(self, event, session=None, **more):
        """A plain hook."""
        session = session or self.session
        started = time.time() * 1000
        process = await self._start(session, event, False, **more)
        began = time.monotonic()
        code, err = await self._end(process)
        self.said = err
        self.slowest_plain = max(self.slowest_plain, time.monotonic() - began)
        if code not in (0, 2):
            self.odd.append(f"a plain hook ended with {code}: {err[:300]}")
        if code == 2:
            self.went_on(session, started)
        return code

    def went_on(self, session, started):
        self.two.setdefault(session, []).append((started, time.time() * 1000))
        self.admitted.append(time.monotonic())

    async def impatient(self):
        """Somebody without an engine in the same seat, who asks again and again: the bang window is for him."""
        for _ in range(self.chance.randint(2, 6)):
            session = self._fresh()
            session_code = await self.tell("Stop", session)
            self.plain.append((session, session_code, self.said))
            await asyncio.sleep(self.chance.uniform(0, 0.4))

    async def live(self):
        failed = False
        while not self.over:
            event = ("StopFailure", {"error": "rate_limit"}) if failed else ("Stop", {"last_assistant_message": "On it."})
            # A prompt that is still on its way may be heard after this stop.
            self.replaced = self.prompting > 0
            started = time.time() * 1000
            self.engine = await self._start(self.session, event[0], True, **event[1])
            code, err = await self._end(self.engine)
            self.engine = None
            if self.over:
                return
            if code == 2:
                self.went_on(self.session, started)
            elif not (code == 0 and self.replaced):
                self.odd.append(f"an engine of {self.session} left by itself with {code} after {event[0]}: {err[:300]}")
            await asyncio.sleep(self.chance.uniform(0.02, 0.8))
            failed = self.chance.random() < 0.02
            if self.chance.random() < 0.03:
                await self.impatient()
            if self.chance.random() < 0.02:
                await self.tell("SessionEnd", reason="clear")
                self.session = self._fresh()
                await self.tell("SessionStart", source="clear")

    async def prompts(self):
        """A person types now and then: the waiting engine gives way, and the turn ends in another stop."""
        while not self.over:
            await asyncio.sleep(self.chance.uniform(20, 90))
            if self.engine and not self.over:
                self.replaced = True
                self.prompting += 1
                await self.tell("UserPromptSubmit", prompt="how is it going?")
                self.prompting -= 1

    def leave(self):
        self.over = True
        if self.engine:
            try:
                self.engine.send_signal(signal.SIGTERM)
            except ProcessLookupError:
                pass
