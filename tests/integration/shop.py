"""A script whose runs fail, die or are cancelled, for the tests of its alerts; it runs in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from deaths import all_gone

import warm
from conftest import SOURCE, Scripts
from sinks import PATIENCE, Sink

SCRIPT = """
import asyncio, os, signal, sys, time
import perdure
from perdure import Retry, step, workflow
from pathlib import Path

HOOK = os.environ["HOOK"]
ONCE = Retry(attempts=2, delay=0.001, jitter=0)


class CardDeclined(Exception):
    pass


@step
def fetch(n):
    return n


@step(retry=ONCE)
def charge(n):
    if Path("fail").exists():
        raise CardDeclined("card 4 declined\\nand a second line")
    if Path("die").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if Path("move").exists():
        os.rename(".perdure/state.db", "moved.db")
    return n


@workflow(alert=HOOK)
def nightly():
    return charge(fetch(1))


@workflow(alert=HOOK)
def batch():
    return len(charge.map([1, 2, 3]).results)


@workflow(alert=HOOK)
def drifting():
    fetch(os.environ["N"])
    charge(1)


@workflow(alert=HOOK)
def quiet():
    print("waiting", flush=True)
    while True:
        fetch(time.time())
        time.sleep(0.02)



if __name__ == "__main__":
    globals()[sys.argv[1]]()
"""


class Shop:
    """The script in a folder, with the address of its alerts."""

    def __init__(self, scripts: Scripts, hook: Sink) -> None:
        self.hook = hook
        self.scripts = scripts
        self.path = scripts.write(SCRIPT, "shop.py")
        self.folder = scripts.folder

    def run(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, and to that of all processes that alert."""
        ended = self.scripts.run(self.path, *args, HOOK=f"http://{self.hook.address}/x", **env)
        self.settle()
        return ended

    def settle(self) -> None:
        """Wait for the end of all its processes."""
        assert all_gone(self.folder)

    def perdure(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(SOURCE), "HOOK": f"http://{self.hook.address}/x"}
        return warm.run(
            [sys.executable, "-m", "perdure", *words], cwd=self.folder, env=env, capture_output=True, text=True,
            timeout=PATIENCE,
        )  # fmt: skip

    def touch(self, name: str) -> None:
        (self.folder / name).touch()

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()
