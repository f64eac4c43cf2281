"""Plays the write-ahead log of a state file into the file, once it is long enough."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import apsw

from perdure.core.sizes import show_size
from perdure.errors import StateReplaced
from perdure.store.watch import Watch

CHECKPOINT = 250
"""Pages of a write-ahead log, which is played into the file then. One that starts over early stays short, its blocks
are written again rather than added, and the flush that every commit waits for is cheaper by a quarter to a third
(benchmarks/README.md)."""

AGAIN = 25
"""Pages after which a log is played again that somebody reads, so that it could not start over: it costs flushes."""


LONG = 4096
"""Pages of a journal that is worth a word; the next ones at twice as many, and so on."""

PAGE = 4096


class Checkpoints:
    """When the log of a connection is played, in the place of SQLite's own rule, which checkpoints without a look.

    Args:
        path: the state file.
        connection: which writes to it.
        watch: looks at the file before.
    """

    def __init__(self, path: Path, connection: apsw.Connection, watch: Watch) -> None:
        self._connection = connection
        self._watch = watch
        self._pages, self._next = 0, CHECKPOINT
        self._length = JournalLength(path)
        self.due = False
        connection.set_wal_hook(self._committed)

    def _committed(self, _connection: apsw.Connection, _schema: str, pages: int) -> int:
        """A commit is in the log, which has so many pages now."""
        if pages < self._pages:  # it has started over
            self._next = CHECKPOINT
        self._pages = pages
        self.due = pages >= self._next
        return apsw.SQLITE_OK

    def play(self) -> StateReplaced | None:
        """Play the log into the file, unless that lacks the pages of before: the log is all that is left then.

        Returns:
            What is wrong with the file.
        """
        self.due = False
        trouble = self._watch.trouble()
        if trouble is None:
            self._next = self._pages + AGAIN
            with suppress(apsw.Error):  # others read it: it is tried again
                length, played = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                self._length.look(length, played)
        return trouble


class JournalLength:
    """Says in the log that a journal grows, and because of whom, whenever it has doubled.

    Args:
        path: the state file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = LONG

    def look(self, pages: int, played: int) -> None:
        """The journal has so many pages, of which so many could be played into the file.

        One that a single large commit has made long, and that nobody reads, starts over with the next commit.
        """
        if pages < LONG:
            self._next = LONG
        if pages < self._next:
            return
        from perdure.store.parked_readers import finishes, readers

        reading = readers(self._path)
        if played == pages and not reading:
            return
        while self._next <= pages:
            self._next *= 2
        import logging

        logging.getLogger("perdure").warning(
            "the journal of the state file is %s long, and grows until %s: %s-wal",
            show_size(pages * PAGE),
            finishes(reading),
            self._path,
        )
