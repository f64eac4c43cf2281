"""The timers of async workflows, so that a resumed run fires them in the order in which they fired before.

A timer of a workflow is one that its own code makes, through `asyncio.sleep`, `timeout`, `wait_for` or a library; not
one that a step makes, or perdure itself. It is recognised by the context in which it is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from perdure.engines.interface import here
from perdure.engines.runtime.cancellation import call_noting
from perdure.engines.runtime.timeouts import bounded

_own: ContextVar[bool] = ContextVar("perdure_timer", default=False)
_users: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()


class Timer:
    """A timer of a workflow: `number` counts them by the order in which they are made; `handle` is the loop's.

    `due`: its time is over, and it waits for its turn.
    """

    __slots__ = ("args", "callback", "context", "due", "handle", "number")

    handle: asyncio.TimerHandle

    def __init__(self, number: int, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self.number = number
        self.callback = callback
        self.args = args
        self.context = context
        self.due = False

    def pending(self) -> bool:
        """Is it still to fire?"""
        return not self.handle.cancelled()

    def fire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Do what it is for."""
        self.handle.cancel()
        if hasattr(self.callback, "__self__"):  # of a timeout, say, which cancels
            loop.call_soon(call_noting, self.context.get(here), self.callback, self.args, context=self.context)
        else:
            loop.call_soon(self.callback, *self.args, context=self.context)


class Owner(Protocol):
    """A run that orders its timers."""

    def add_timer(self, timer: Timer) -> Callable[[], None] | None:
        """A timer is made: what is called when its time is over, or None if it is to fire by itself."""


@contextmanager
def own_timers() -> Iterator[None]:
    """Timers that are made inside are perdure's own."""
    token = _own.set(True)
    try:
        yield
    finally:
        _own.reset(token)


def _through(loop: asyncio.AbstractEventLoop) -> str:
    """The method that every timer of the loop goes through: asyncio makes a time of a delay, uvloop the reverse."""
    return "call_at" if isinstance(loop, asyncio.BaseEventLoop) else "call_later"


def watch_timers(loop: asyncio.AbstractEventLoop) -> None:
    """From now on, workflows hear of the timers that they make on that loop."""
    users = _users.get(loop, 0)
    _users[loop] = users + 1
    if users or not hasattr(loop, "__dict__"):
        return
    original = getattr(loop, _through(loop))

    def make(
        time: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        scope = here.get() if context is None else context.get(here)
        find = getattr(scope, "order_of", None)
        owner: Owner | None = None if find is None else find(loop)
        if owner is None or _own.get() or type(getattr(callback, "__self__", None)) is bounded:
            return original(time, callback, *args, context=context)  # type: ignore[no-any-return]
        timer = Timer(0, callback, args, copy_context() if context is None else context)
        on_due = owner.add_timer(timer)
        if on_due is None:
            return original(time, callback, *args, context=context)  # type: ignore[no-any-return]
        timer.handle = original(time, on_due, context=Context())
        return timer.handle

    setattr(loop, _through(loop), make)


def unwatch_timers(loop: asyncio.AbstractEventLoop) -> None:
    """The opposite, when the last workflow on that loop is over."""
    _users[loop] -= 1
    if not _users[loop] and hasattr(loop, "__dict__"):
        loop.__dict__.pop(_through(loop), None)
