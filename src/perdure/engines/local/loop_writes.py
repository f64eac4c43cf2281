"""Group commit for the tasks of an event loop: all that is saved in the same turn of the loop shares one fsync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from itertools import repeat
from typing import Any
from weakref import WeakValueDictionary

from perdure.engines.runtime.loop_futures import settle_future
from perdure.store.group_commit import Entry, Journal, Operation

Rows = Sequence[tuple[Any, ...]]
Then = Callable[[BaseException | None], None]


class LoopWrites:
    """Collects what the tasks of one loop want to save, and commits it at the end of the turn.

    The commit runs on the loop's own thread: one device flush for the whole turn costs less than handing it to another
    thread and back.
    """

    __slots__ = ("__weakref__", "_journal", "_plain", "_waiting", "loop")

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        self._journal = journal
        self.loop = loop
        # The last is the result of the future, or, without one, what is to be called.
        self._waiting: list[tuple[Rows, Operation | None, asyncio.Future[Any] | None, Any]] = []
        self._plain = True  # none of them has an operation

    def write(self, rows: Rows, operation: Operation | None = None, result: Any = None) -> asyncio.Future[Any]:
        """Make rows and an operation durable; the future is done after the fsync.

        Its result is what the operation returns, or `result` without one. A task that is cancelled meanwhile does not
        take its rows back.
        """
        future: asyncio.Future[Any] = asyncio.Future(loop=self.loop)
        if not self._waiting:
            self._begin()
        if operation is not None:
            self._plain = False
        entry = rows, operation, future, result
        try:
            self._waiting.append(entry)
            return future
        except BaseException:  # Ctrl-C between two lines: nobody has the future, and takes it for not written
            self._waiting = [each for each in self._waiting if each is not entry]
            raise

    def write_then(self, rows: Rows, then: Then, operation: Operation | None = None) -> None:
        """Make rows and an operation durable; `then` is called after the fsync, or with the error."""
        if not self._waiting:
            self._begin()
        if operation is not None:
            self._plain = False
        self._waiting.append((rows, operation, None, then))

    def _begin(self) -> None:
        # It is no code of the workflow's. Each has a context of its own: loops of several threads cannot share one.
        self.loop.call_soon(self._commit, context=Context())

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        plain, self._plain = self._plain, True
        entries: Iterable[Entry] = ()
        whole = self._journal.write_together([row for rows, _, _, _ in waiting for row in rows]) if plain else None
        if whole is None:
            entries = [Entry(rows, operation) for rows, operation, _, _ in waiting]
            self._journal.write_all(entries)
        else:
            entries = repeat(whole)
        for entry, (_, operation, future, then) in zip(entries, waiting, strict=False):
            if future is None:
                then(entry.error)
            elif future.done():
                continue
            elif entry.error is None:
                settle_future(future, then if operation is None else entry.result)
            else:
                settle_future(future, error=entry.error)


class WritesOfLoops:
    """The group commit of each running loop. It lives while a run of the loop has it or something is to be saved."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._of_loop: WeakValueDictionary[int, LoopWrites] = WeakValueDictionary()  # by the id of their loop

    def here(self) -> LoopWrites:
        """The group commit of the loop that runs the current task."""
        loop = asyncio.get_running_loop()
        commit = self._of_loop.get(id(loop))
        if commit is None:
            commit = self._of_loop[id(loop)] = LoopWrites(self._journal, loop)
        return commit
