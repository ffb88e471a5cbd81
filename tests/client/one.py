"""Runs one scenario in this process: `one.py NAME [--long]`. Exit 0: it holds."""
import signal
import sys
import traceback

import catalog
from bench import Bench, NotBegun


def main():
    name, long = sys.argv[1], "--long" in sys.argv
    # A runner that loses patience still gets everything ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("took too long"))
    for _ in range(ATTEMPTS - 1):
        try:
            return once(name, long, patient=False)
        except NotBegun as e:
            print(f"-- begins anew: {e}", flush=True)
    return once(name, long, patient=True)


# How often a scenario begins that the client leaves without what it is about.
ATTEMPTS = 3


def once(name, long, patient):
    bench = Bench(long)
    try:
        catalog.ALL[name](bench)
        return 0
    except (Exception, SystemExit) as e:
        if isinstance(e, NotBegun) and not patient:
            raise
        bench.say(f"-- {e or type(e).__name__}")
        bench.say("".join(traceback.format_tb(e.__traceback__)[1:]).rstrip())
        bench.report()
        return 1
    finally:
        bench.close()


if __name__ == "__main__":
    sys.exit(main())
