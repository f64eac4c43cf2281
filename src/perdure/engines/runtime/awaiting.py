"""What a task waits for: something of the workflow's own, or something outside of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

_OWN = ("locks.py", "queues.py", "taskgroups.py", "timeouts.py", "events.py", "tasks.py")
_PRIMITIVES = frozenset(asyncio.__file__.replace("__init__.py", name) for name in _OWN)

_WAITED_FOR = {"wait_for": ("fut",), "_wait": ("fs",), "_cancel_and_wait": ("fut",)}
"""Functions of asyncio that wait for others' futures, and the variables that hold them."""

Known = Callable[["asyncio.Task[Any]"], bool | None]


def rests(
    task: asyncio.Task[Any], known: Known, branches: Iterable[asyncio.Task[Any]], jobs: Collection[Any] = ()
) -> bool:
    """Does a task wait for what only the workflow itself can bring about: a call, another task, a lock, a timer?

    False if it waits for something else, such as a response or a thread, or if that cannot be found out.

    Args:
        task: which.
        known: what is known of a task without looking at what it awaits; None if nothing is.
        branches: the tasks of the workflow.
        jobs: futures of thread pools that only wait likewise.
    """
    return _Look(known, branches, jobs).task(task)


class _Look:
    def __init__(self, known: Known, branches: Iterable[asyncio.Task[Any]], jobs: Collection[Any]) -> None:
        self._known = known
        self._jobs = jobs
        self._branches = branches
        self._seen: set[Any] = set()
        self._shielded: set[Any] | None = None

    def task(self, task: asyncio.Task[Any]) -> bool:
        if task.done() or task in self._seen:
            return True
        self._seen.add(task)
        known = self._known(task)
        if known is not None:
            return known
        awaited = getattr(task, "_fut_waiter", None)
        if awaited is None:
            return False
        frame = _innermost(task.get_coro())
        if frame is not None and frame.f_code.co_filename in _PRIMITIVES:
            names = frame.f_locals if frame.f_code.co_filename == asyncio.tasks.__file__ else {}
            waited_for = [names[name] for name in _WAITED_FOR.get(frame.f_code.co_name, ()) if name in names]
            return all(self.future(each) for one in waited_for for each in (one if _is_many(one) else [one]))
        return self.future(awaited)

    def future(self, future: Any) -> bool:
        if not asyncio.isfuture(future) or future.done():
            return True
        if isinstance(future, asyncio.Task):
            return self.task(future)
        children = getattr(future, "_children", None)
        if children is not None:  # of a gather
            return all(self.future(child) for child in children)
        return future in self._shields() or any(job in self._jobs for job in _behind(future))

    def _shields(self) -> set[Any]:
        """The futures that stand before shielded tasks of the workflow."""
        if self._shielded is None:
            self._shielded = set()
            for task in self._branches:
                for callback, *_ in getattr(task, "_callbacks", None) or ():
                    if getattr(callback, "__name__", "") == "_inner_done_callback":
                        cells = callback.__closure__ or ()
                        self._shielded.update(one for cell in cells if asyncio.isfuture(one := cell.cell_contents))
        return self._shielded


def _behind(future: asyncio.Future[Any]) -> Iterator[Any]:
    """The future of a thread pool whose result this one takes over (`asyncio.wrap_future`)."""
    for callback, *_ in getattr(future, "_callbacks", None) or ():
        if getattr(callback, "__name__", "") == "_call_check_cancel":
            yield from (cell.cell_contents for cell in callback.__closure__ or ())


def _is_many(value: Any) -> bool:
    return isinstance(value, set | frozenset | list | tuple)


def _innermost(coroutine: Any) -> Any:
    """The frame that waits, if it is Python's."""
    frame = None
    while coroutine is not None:
        for kind in ("cr", "gi", "ag"):
            if (found := getattr(coroutine, f"{kind}_frame", None)) is not None:
                frame = found
                coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await", None)
                break
        else:
            return frame
    return frame
