"""Runs the scenarios, a few at a time, and tells of them the way cargo does."""
import argparse
import concurrent.futures
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import catalog

HERE = Path(__file__).resolve().parent
CHILDREN = set()


def run(name, long):
    start = time.monotonic()
    child = subprocess.Popen([sys.executable, HERE / "one.py", name, *(["--long"] if long else [])],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors="replace")
    CHILDREN.add(child)
    try:
        out, _ = child.communicate(timeout=900 if long else 300)
    except subprocess.TimeoutExpired:
        child.terminate()
        try:
            out, _ = child.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            child.kill()
            out = child.communicate()[0] + "\n-- killed: it did not even end"
    CHILDREN.discard(child)
    return name, child.returncode == 0, out, time.monotonic() - start


def leave(*_):
    """Ended from outside: the scenarios end what they started, nothing new begins."""
    for child in list(CHILDREN):
        child.terminate()
    for child in list(CHILDREN):
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
    os._exit(1)


def main():
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    args = argparse.ArgumentParser()
    args.add_argument("--long", action="store_true", help="the full lengths")
    args.add_argument("--only", metavar="NAME", action="append", help="scenarios whose name contains NAME")
    args.add_argument("--jobs", type=int, default=4, metavar="N")
    args = args.parse_args()

    chosen = [n for n in catalog.ALL if not args.only or any(o in n for o in args.only)]
    if not chosen:
        sys.exit(f"tests/client: no scenario is called {args.only}; there are: {' '.join(catalog.ALL)}")
    together = [n for n in chosen if n not in catalog.ALONE]
    start = time.monotonic()
    print(f"running {len(chosen)} tests", flush=True)
    failed = []

    def tell(name, ok, out, seconds):
        print(f"test client::{name} ... {'ok' if ok else 'FAILED'}")
        print("".join(f"    {line}\n" for line in f"{out.rstrip()}\n({seconds:.1f} s)".splitlines() if line), end="", flush=True)
        if not ok:
            failed.append(name)

    # Those that mostly wait leave the cores to the others, and have as many places again.
    pools = [concurrent.futures.ThreadPoolExecutor(max(1, args.jobs)) for _ in range(2)]
    runs = [pools[n in catalog.WAITING].submit(run, n, args.long) for n in together]
    for done in concurrent.futures.as_completed(runs):
        tell(*done.result())
    for name in chosen:
        if name in catalog.ALONE:
            tell(*run(name, args.long))

    if failed:
        print("\nfailures:\n" + "".join(f"    client::{n}\n" for n in failed))
    print(f"\ntest result: {'FAILED' if failed else 'ok'}. {len(chosen) - len(failed)} passed; {len(failed)} failed; "
          f"0 ignored; 0 measured; {len(catalog.ALL) - len(chosen)} filtered out; "
          f"finished in {time.monotonic() - start:.2f}s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
