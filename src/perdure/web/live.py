"""Tells open pages that something has changed: one look at the state file for all of them, none without them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from perdure.errors import PerdureError
from perdure.store.changes import Changes

RECORDS: Final = 0.25
"""Seconds between two looks at the records."""

AROUND: Final = 1.0
"""Seconds between two looks at processes and services."""

QUIET: Final = 20.0
"""Seconds without a change after which all are sent a line without meaning, which keeps their connections open."""


class Change(msgspec.Struct, frozen=True):
    """Something has changed.

    Attributes:
        number: grows with each.
        runs: ids of runs in which something was recorded: of those that are executed, were until now, were begun, or
            are asked about; the newest of many.
        around: processes, attempts in flight or services have changed.
    """

    number: int
    runs: Sequence[str] = ()
    around: bool = False


class Live:
    """Who listens, and what they are told.

    Args:
        path: the state file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listeners: set[asyncio.Queue[Change | None]] = set()
        self._asked: Counter[str] = Counter()
        self._over: threading.Event | None = None  # of the thread that looks
        self._begun = asyncio.Event()  # it has looked once: what changes from then on is noticed
        self._number = 0

    async def events(self, run: str | None = None) -> AsyncIterator[bytes]:
        """Server-sent events: `change` with a `Change`, the first at once.

        Args:
            run: the id of a run that is asked about: whatever is recorded of it is told, also if nothing executes it.
        """
        queue: asyncio.Queue[Change | None] = asyncio.Queue(maxsize=1)
        self._listeners.add(queue)
        if run is not None:
            self._asked[run] += 1
        if self._over is None:
            self._over, self._begun = threading.Event(), asyncio.Event()
            about = (asyncio.get_running_loop(), self._over, self._begun)
            threading.Thread(target=self._watch, args=about, name="perdure-ui-live", daemon=True).start()
        try:
            await self._begun.wait()
            yield _event(Change(self._number))
            while True:
                change = await queue.get()
                yield b": still here\n\n" if change is None else _event(change)
        finally:
            self._listeners.discard(queue)
            if run is not None:
                self._asked -= Counter((run,))
            if not self._listeners and self._over is not None:
                self._over.set()
                self._over = None

    def _watch(self, loop: asyncio.AbstractEventLoop, over: threading.Event, begun: asyncio.Event) -> None:
        """The life of the thread that looks. It wakes the loop only when there is something to tell."""
        watcher, quiet = _Watcher(self._path), 0.0
        try:
            watcher.has_changed()
            loop.call_soon_threadsafe(begun.set)
            while not over.is_set():
                time.sleep(RECORDS)  # a wait for the event takes twice the CPU, for ever
                quiet += RECORDS
                if watcher.has_changed(tuple(self._asked), RECORDS):
                    quiet = 0.0
                    loop.call_soon_threadsafe(self._tell, watcher.runs, watcher.around)
                elif quiet >= QUIET:
                    quiet = 0.0
                    loop.call_soon_threadsafe(self._tell_nothing)
        except RuntimeError:  # the loop is closed: nobody listens
            pass
        finally:
            watcher.close()

    def _tell(self, runs: Sequence[str], around: bool) -> None:
        self._number += 1
        for queue in self._listeners:
            before = (queue.get_nowait() if queue.full() else None) or Change(0)  # who is slow is told once
            named = tuple(dict.fromkeys((*before.runs, *runs)))
            queue.put_nowait(Change(self._number, named, around or before.around))

    def _tell_nothing(self) -> None:
        for queue in self._listeners:
            if not queue.full():
                queue.put_nowait(None)


class _Watcher:
    """Looks, in a thread of its own; opens the file again if it was exchanged or cannot be read for a while."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changes: Changes | None = None
        self._records: Hashable = None
        self._around: Hashable = None
        self._since = AROUND
        self._asked: Sequence[str] = ()
        self.runs: list[str] = []
        self.around = False

    def has_changed(self, asked: Sequence[str] = (), pause: float = AROUND) -> bool:
        """Has something changed since the last time? In `runs`, and whether `around` them.

        Args:
            asked: ids of runs of which all is looked at.
            pause: seconds since that look.
        """
        try:
            if self._changes is None:
                self._changes = Changes(self._path)
            before = self._records, self._around
            self._records = self._changes.records()
            if self._changes.is_copy and self._records != before[0]:
                self.close()
                self._changes = Changes(self._path)
            if self._records != before[0] or asked != self._asked:
                self._asked, self.runs = asked, self._changes.runs(asked)
            else:
                self.runs = []
            self._since += pause
            if self._since >= AROUND:
                self._since, self._around = 0.0, self._changes.around()
            self.around = before[1] != self._around
            return before != (None, None) and (bool(self.runs) or before != (self._records, self._around))
        except (PerdureError, OSError):
            self.close()
            known, self._records = self._records, "unreadable"
            self.runs, self.around = [], True
            return known != "unreadable"

    def close(self) -> None:
        """Close the file."""
        if self._changes is not None:
            self._changes.close()
            self._changes = None


def _event(change: Change) -> bytes:
    return b"event: change\ndata: " + msgspec.json.encode(change) + b"\n\n"
