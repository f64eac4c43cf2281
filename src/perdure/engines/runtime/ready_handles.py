"""What a loop has ready to run for workflows, by which it is seen whether they have come to rest.

asyncio's own loops show it. Others (uvloop) keep it to themselves, so it is noted there as it is handed to them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any
from weakref import WeakKeyDictionary

from perdure.engines.interface import here

_WAYS = ("call_soon", "call_soon_threadsafe")
_users: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()
_noted: WeakKeyDictionary[asyncio.AbstractEventLoop, deque[Any]] = WeakKeyDictionary()


class _Noted:
    """A callback of a workflow that was handed to the loop. The names are those of asyncio's handles."""

    __slots__ = ("_context", "callback", "handle", "over")

    def __init__(self, callback: Callable[..., object], context: Context) -> None:
        self.callback = callback
        self._context = context
        self.handle: asyncio.Handle | None = None
        self.over = False

    def __call__(self, *args: Any) -> object:
        self.over = True
        return self.callback(*args)

    @property
    def _cancelled(self) -> bool:
        """Is it not to run any more?"""
        return self.over or (self.handle is not None and self.handle.cancelled())


def shows_ready(loop: asyncio.AbstractEventLoop) -> bool:
    """Does the loop show by itself what it has ready, in the order in which that runs?"""
    return getattr(loop, "_ready", None) is not None


def ready_on(loop: asyncio.AbstractEventLoop) -> Any:
    """What the loop has ready, of workflows at least; None if that is not known."""
    return getattr(loop, "_ready", None) if shows_ready(loop) else _noted.get(loop)


def watch_ready(loop: asyncio.AbstractEventLoop) -> None:
    """From now on, what workflows have ready on that loop is known."""
    users = _users.get(loop, 0)
    _users[loop] = users + 1
    if users or shows_ready(loop) or not hasattr(loop, "__dict__"):
        return
    noted = _noted[loop] = deque()
    for way in _WAYS:
        setattr(loop, way, _noting(getattr(loop, way), noted, prunes=way == "call_soon"))


def _noting(
    original: Callable[..., asyncio.Handle], noted: deque[Any], *, prunes: bool
) -> Callable[..., asyncio.Handle]:
    """Note what is handed to the loop; `prunes`: on the loop's own thread, and what is over is forgotten."""

    def call(callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        context = copy_context() if context is None else context
        if getattr(context.get(here), "family", None) is None:
            return original(callback, *args, context=context)
        while prunes and noted and noted[0]._cancelled:
            noted.popleft()
        entry = _Noted(callback, context)
        noted.append(entry)  # first: from another thread, it may have run when the loop has taken it
        entry.handle = handle = original(entry, *args, context=context)
        return handle

    return call


def unwatch_ready(loop: asyncio.AbstractEventLoop) -> None:
    """The opposite, when the last workflow on that loop is over."""
    _users[loop] -= 1
    if not _users[loop] and _noted.pop(loop, None) is not None:
        for way in _WAYS:
            loop.__dict__.pop(way, None)
