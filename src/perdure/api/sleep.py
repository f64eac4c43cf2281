"""`perdure.sleep` and `sleep_until`, and their twins in `perdure.aio`: durable in a workflow, ordinary elsewhere."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from perdure.api.durable_wait import awaited, blocking, moment_of, scope_of
from perdure.core.callables import EMPTY
from perdure.core.durations import Duration, seconds
from perdure.core.execution.waiting import NOTHING
from perdure.core.values import codec

if TYPE_CHECKING:
    from perdure.core.waits import Lapsed, Letter, RunEnd
    from perdure.core.waits import Won as Winner


def sleep(duration: Duration, *, name: str = "") -> None:
    """Sleep. In a workflow it is durable: a run that sleeps for long ends its process, and goes on in another one.

    Outside a workflow it is an ordinary sleep.

    Args:
        duration: seconds, a timedelta, or text such as "30s", "2h" or "1d"; at most 100 years.
        name: tells this sleep from others of the workflow, so that others can be added before it while it lasts.

    Raises:
        OptionError: the duration is not one.
        Suspended: to the caller of the workflow, if the run is left to its waits.
        UsageError: called in a step, or in a function that an event loop executes.
    """
    length = seconds(duration, option="duration")
    scope = scope_of("sleep", outside=True)
    if scope is None:
        time.sleep(length)
    else:
        blocking(scope, "sleep", _Sleep(length=length), name)


def sleep_until(when: datetime, *, name: str = "") -> None:
    """Sleep until a moment; everything else is as with `sleep`.

    Args:
        when: an aware datetime; one that has passed is no wait.
        name: as for `sleep`.

    Raises:
        OptionError: it is no datetime, or a naive one.
        UsageError: as for `sleep`.
    """
    at = moment_of(when)
    scope = scope_of("sleep_until", outside=True)
    if scope is None:
        time.sleep(max(0.0, at - time.time()))
    else:
        blocking(scope, "sleep_until", _Sleep(at=at), name)


def asleep(duration: Duration, *, name: str = "") -> Awaitable[None]:
    """Sleep, in async code; takes and raises what `perdure.sleep` does."""
    length = seconds(duration, option="duration")
    scope = scope_of("aio.sleep", outside=True)
    if scope is None:
        import asyncio

        return asyncio.sleep(length)
    return awaited(scope, _Sleep(length=length), name)


def asleep_until(when: datetime, *, name: str = "") -> Awaitable[None]:
    """Sleep until a moment, in async code; takes and raises what `perdure.sleep_until` does."""
    at = moment_of(when)
    scope = scope_of("aio.sleep_until", outside=True)
    if scope is None:
        import asyncio

        return asyncio.sleep(max(0.0, at - time.time()))
    return awaited(scope, _Sleep(at=at), name)


class _Sleep:
    """See core/execution/waiting.py: Wait."""

    name = "perdure.sleep"
    plan: Any

    def __init__(self, *, length: float | None = None, at: float | None = None) -> None:
        from perdure.core.waits import Wanted

        self.wanted = (Wanted(length=length, at=at),)
        self.since: tuple[float, float] | None = None
        self.plan = codec.plan(EMPTY, owner=self.name)
        self.given: list[Any] = [length if at is None else datetime.fromtimestamp(at, UTC)]

    def result(self, won: Winner, found: Letter | RunEnd | None) -> bytes:
        return NOTHING

    def late(self, lapsed: Lapsed) -> bytes | Exception:
        raise AssertionError("a time is never late")
