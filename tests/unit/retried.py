"""What the tests of `@perdure.retry` share: a clock, a function that fails, and calls of it both sync and async."""

from __future__ import annotations

import asyncio
import urllib.error
from email.message import Message
from typing import Any

import pytest

from perdure.api import retry as retrying
from perdure.api.retry import retry


class Clock(retrying.Clock):
    """Moves only when it is slept on; `slept` has all waits."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:  # type: ignore[override]
        return self.time

    def steady(self) -> float:  # type: ignore[override]
        return self.time - 1_700_000_000.0

    def sleep(self, seconds: float) -> None:  # type: ignore[override]
        self.slept.append(seconds)
        self.time += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def uniform(self) -> float:  # type: ignore[override]
        return 0.5


def installed(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock in the place of the real one, for a test."""
    clock = Clock()
    monkeypatch.setattr(retrying, "clock", clock)
    return clock


class Flaky:
    """Fails with each of `failures`, then succeeds; counts its calls."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.calls = 0

    def __call__(self, value: int = 7) -> int:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return value


def too_many(**headers: str) -> urllib.error.HTTPError:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return urllib.error.HTTPError("http://api.test/", 429, "Too Many Requests", message, None)


def call(way: str, flaky: Flaky, *args: Any, **options: Any) -> Any:
    """Call `flaky` under a policy, as a sync or as an async function."""
    if way == "sync":
        return retry(**options)(flaky)(*args)

    @retry(**options)
    async def fetch(*args: Any) -> int:
        await asyncio.sleep(0)
        return flaky(*args)

    return asyncio.run(fetch(*args))


WAYS = ["sync", "async"]


async def aflaky(flaky: Flaky) -> int:
    return flaky()
