"""Steps for processes of their own: a module that is loaded quickly. What is executed is written to the file LEDGER."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from perdure import Retry, step

AGAIN = Retry(attempts=2, delay="1ms", jitter=0)
LOADED_BY = os.getpid()


def note(n: int) -> int:
    """An item is executed, by this process: written down with one write. How often it was before."""
    ledger = os.environ["LEDGER"]
    before = tried(ledger).count(n)
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b"%d %d\n" % (n, os.getpid()))
    os.close(descriptor)
    return before


def lines(ledger: str) -> list[tuple[int, int]]:
    """Item and process of each attempt."""
    try:
        text = Path(ledger).read_text()
    except FileNotFoundError:
        return []
    return [(int(n), int(pid)) for n, pid in (line.split() for line in text.splitlines())]


def tried(ledger: str) -> list[int]:
    """The item of each attempt."""
    return [n for n, _ in lines(ledger)]


@step(retry=AGAIN)
def killed_once(n: int) -> int:
    """The process of item 3 is killed at its first attempt."""
    if note(n) == 0 and n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n


@step(retry=AGAIN)
async def killed_once_async(n: int) -> int:
    """The same, awaited."""
    await asyncio.sleep(0)
    return killed_once(n)


@step(retry=Retry(attempts=20, delay="1ms", jitter=0), timeout="2s")
def hangs_once(n: int) -> int:
    """Item 1 never ends at its first attempt."""
    if note(n) == 0 and n == 1:
        while True:
            pass
    return n * n


@step(retry=None)
def ends_badly(how: str) -> str:
    """Each item in its own way."""
    if how == "exit":
        os._exit(7)
    if how == "sys.exit":
        sys.exit("no more")
    if how == "abort":
        os.kill(os.getpid(), signal.SIGABRT)
    if how == "recursion":
        ends_badly(how)
    if how == "raise":
        raise LookupError("no such thing")
    return how


@step(retry=None, isolate=True)
def who(n: int) -> list[int]:
    """The process that executes, and the one that has loaded this module."""
    return [os.getpid(), LOADED_BY]


@step(retry=None)
def pooled_who(n: int) -> list[int]:
    """The same."""
    return [os.getpid(), LOADED_BY]


@step(retry=None, isolate=True)
async def endless() -> None:
    """It never ends."""
    note(0)
    await asyncio.Event().wait()


@step(retry=None)
def forks(n: int) -> int:
    """The first item leaves a copy of its process behind, which comes back from the step, too."""
    if n == 0 and os.fork() == 0:
        return -1
    return n


class Account:
    """What it goes by is no way to make it anew."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __perdure_key__(self) -> str:
        return self.name

    @step
    def balance(self, n: int) -> int:
        return n

    @step(isolate=True)
    def isolated_balance(self, n: int) -> int:
        return n


@step(retry=None)
def mistaken(n: int) -> int:
    """No item can succeed."""
    note(n)
    return n.amount  # type: ignore[attr-defined,no-any-return]


@step(retry=None)
def pooled_inner(n: int) -> int:
    return n


@step(retry=None)
def pooled_outer(n: int) -> int:
    """A step that calls another, which is an ordinary call then."""
    return pooled_inner(n)
