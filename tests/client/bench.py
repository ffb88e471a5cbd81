"""What a scenario is given: it starts things here, and all of them end with it."""
import time

import journal
import procs
from home import Home
from server import Server
from stub import Stub
from terminal import Terminal


def check(holds, otherwise):
    if not holds:
        raise AssertionError(otherwise)


def waits(scenario):
    """Marks a scenario that mostly waits for the clock: it leaves the cores to the others."""
    scenario.waits = True
    return scenario


class NotBegun(AssertionError):
    """The client did not do what the scenario is about: nothing of Frosty's was tried."""


class Bench:
    def __init__(self, long):
        self.long = long
        self.stub = self.home = self.server = self.terminal = self.journal = None
        # How long the client took to start.
        self.pace = 0.0
        self._open = []

    def say(self, line):
        print(line, flush=True)

    def start(self, script, policy=None, server=False, server_keeps=False, **home):
        """A stub, a home and, if asked for, a server."""
        self.stub = self.keep(Stub(script))
        if server:
            self.server = self.keep(Server(server_keeps))
        store = self.server.url if server else "embedded"
        # The budget is wide, the quiet minute and idle backoff are off: few of these scenarios are about them.
        self.home = self.keep(Home(self.stub, {"store": store, "budget": "1s", "person": {"quiet": "0s"}, "idle": None, **(policy or {})}, **home))
        self.journal = journal.Journal(self.home, self.server)

    def open(self, *args, env=None):
        # It ends with the home, as all that runs there does.
        begun = time.monotonic()
        self.terminal = Terminal(self.home, *args, env=env)
        self.terminal.ready()
        self.pace = time.monotonic() - begun
        return self.terminal

    def guard(self, least):
        """A minimum interval during which the client makes a turn on this machine, and a person types: longer where it is
        slow. In seconds, `least` on a machine at rest."""
        seconds = max(least, round(2.5 * self.pace))
        self.home.set_policy(stop={"min_interval": f"{seconds}s"})
        return seconds

    def keep(self, thing):
        self._open.append(thing)
        return thing

    def close(self):
        for thing in reversed(self._open):
            thing.close()

    def report(self):
        """What there is to see when a scenario failed."""
        if self.stub:
            self.say(f"-- calls at the API\n{self.stub.log()}")
        if self.journal:
            self.say(f"-- journal\n{self.journal.tail()}")
        if self.home:
            lines = [f"  {p} {' '.join(procs.argv(p))[:120]}" for p in procs.of_home(self.home.path)]
            self.say("-- processes\n" + "\n".join(lines))
        if self.terminal:
            try:
                self.say(f"-- screen\n{self.terminal.screen()}")
            except Exception as e:
                self.say(f"-- no screen: {e}")

    # ---- waiting ------------------------------------------------------------------------------------------------
    def until(self, holds, timeout, what):
        """The first true value of `holds()`."""
        timeout *= procs.PATIENCE
        end = time.monotonic() + timeout
        while True:
            value = holds()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"not in {timeout} s: {what}")
            time.sleep(0.05)

    def engines(self):
        return procs.engines(self.home.path)

    def waiting(self, refused=1, timeout=30):
        """The one engine alive, once it was refused so often: then it waits."""
        def one():
            found = self.engines()
            return found if len(found) == 1 and len(self.journal.refusals()) >= refused else None
        return self.until(one, timeout, f"one waiting engine and {refused} refusals")[0]

    def no_engine(self, timeout=5):
        self.until(lambda: not self.engines(), timeout, "no engine left alive")

    def quiet(self, seconds):
        """No main call may come in this time."""
        before = len(self.stub.main())
        time.sleep(seconds)
        after = len(self.stub.main())
        check(after == before, f"{after - before} calls in {seconds} s that should have been quiet")

    def settled(self, timeout=20):
        """Waits until the call of each admission has come."""
        self.until(lambda: len(self.stub.main()) > len(self.journal.admissions()), timeout, "the call of each admission")

    def none_burnt(self, continued):
        """Each admission of the journal is one call at the API."""
        admitted = len(self.journal.admissions())
        check(admitted == continued, f"{admitted} admissions for {continued} continuations")
