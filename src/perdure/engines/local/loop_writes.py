"""Group commit for the tasks of an event loop: all that is saved in the same turn of the loop shares one fsync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any
from weakref import WeakKeyDictionary

from perdure.store.group_commit import Entry, Journal, Operation


class _Followed(Entry):
    __slots__ = ("then",)

    def __init__(
        self,
        rows: Sequence[tuple[Any, ...]],
        operation: Operation | None,
        then: Callable[[BaseException | None], None],
    ) -> None:
        super().__init__(rows, operation)
        self.then = then


class _Awaited(Entry):
    __slots__ = ("future",)

    def __init__(
        self, rows: Sequence[tuple[Any, ...]], operation: Operation | None, future: asyncio.Future[Any]
    ) -> None:
        super().__init__(rows, operation)
        self.future = future


class LoopWrites:
    """Collects what the tasks of one loop want to save, and commits it at the end of the turn.

    The commit runs on the loop's own thread: one device flush for the whole turn costs less than handing it to another
    thread and back.
    """

    __slots__ = ("_journal", "_waiting", "loop")

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        self._journal = journal
        self.loop = loop
        self._waiting: list[_Awaited | _Followed] = []

    def write(self, rows: Sequence[tuple[Any, ...]], operation: Operation | None = None) -> asyncio.Future[Any]:
        """Make rows and an operation durable; the future is done after the fsync.

        A task that is cancelled meanwhile does not take its rows back.
        """
        future = self.loop.create_future()
        self._add(_Awaited(rows, operation, future))
        return future

    def write_then(
        self,
        rows: Sequence[tuple[Any, ...]],
        then: Callable[[BaseException | None], None],
        operation: Operation | None = None,
    ) -> None:
        """Make rows and an operation durable; `then` is called after the fsync, or with the error."""
        self._add(_Followed(rows, operation, then))

    def _add(self, entry: _Awaited | _Followed) -> None:
        if not self._waiting:
            # It is no code of the workflow's. Each has a context of its own: loops of several threads cannot share one.
            self.loop.call_soon(self._commit, context=Context())
        self._waiting.append(entry)

    def _commit(self) -> None:
        entries, self._waiting = self._waiting, []
        self._journal.write_all(entries)
        for entry in entries:
            if isinstance(entry, _Followed):
                entry.then(entry.error)
                continue
            future = entry.future
            if future.done():
                continue
            if entry.error is None:
                future.set_result(entry.result)
            else:
                future.set_exception(entry.error)


class WritesOfLoops:
    """The group commit of each running loop."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopWrites] = WeakKeyDictionary()

    def here(self) -> LoopWrites:
        """The group commit of the loop that runs the current task."""
        loop = asyncio.get_running_loop()
        commit = self._of_loop.get(loop)
        if commit is None:
            commit = self._of_loop[loop] = LoopWrites(self._journal, loop)
        return commit
