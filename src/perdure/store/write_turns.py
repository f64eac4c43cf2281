"""Processes that write to one state file take turns.

SQLite's own lock is had by whoever happens to ask at the right moment: a process that has just let go of it asks again
at once, while the others sleep, up to a tenth of a second at a time. Beside three busy ones a step took seconds.

So each transaction is made under two flocks. Who has the first is the next to write, and lets go of it when it has the
second; a process that has just written has to line up again. The kernel drops both at a death. Nothing depends on them:
where they cannot be had (the file system does not keep them, their holder is suspended), SQLite's lock decides.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from perdure.config.ownership import make_file, make_folder
from perdure.store.liveness import locks_of

try:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
except ImportError:  # not on Windows
    flock = None  # type: ignore[assignment]

NEXT, WRITER = "next-writer", "writer"
"""The names of the two, among the locks of the processes."""

PATIENCE = 2.0
"""Seconds that a process waits for its turn. If it does not come, it goes without until it has had one again."""

IDLE = 1.0
"""Seconds after which a thread that has nobody to line up for ends."""


class WriteTurns:
    """The turns of one write connection, which is used by one thread at a time.

    Args:
        state: the state file; the locks lie in its `-locks` folder.
        patience: seconds to wait for a turn.
    """

    def __init__(self, state: Path, patience: float = PATIENCE) -> None:
        self._folder = locks_of(state)
        self._patience = patience
        self._next = self._writer = -1
        self._line: _Line | None = None
        self._usable = flock is not None

    def take(self) -> None:
        """Wait until it is this process's turn, or for as long as there is patience."""
        if not self._usable or (self._line is not None and self._line.is_left_behind()):
            return
        try:
            if self._writer < 0:
                self._open()
            try:
                flock(self._next, LOCK_EX | LOCK_NB)
                flock(self._writer, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                self._line_up()
            else:
                flock(self._next, LOCK_UN)
        except (OSError, RuntimeError):  # no such locks here, or another user's folder; no thread can be started
            self.close()
            self._usable = False

    def give(self) -> None:
        """The turn is over; also if there was none."""
        if self._writer >= 0:
            flock(self._writer, LOCK_UN)

    def close(self) -> None:
        """Let go of the files."""
        descriptors = self._next, self._writer
        self._next = self._writer = -1
        self._line = None
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)

    def close_in_child(self) -> None:
        """After a fork: let go of the files, and unlock nothing, since the parent may be at its turn.

        A copy of the descriptors would keep the turn of a dead parent.
        """
        if self._line is not None:
            self._line.close_in_child()
        self.close()

    def _open(self) -> None:
        make_folder(self._folder)
        self._next = make_file(self._folder / NEXT, os.O_RDWR)
        self._writer = make_file(self._folder / WRITER, os.O_RDWR)

    def _line_up(self) -> None:
        """Wait in a thread that is left behind if need be: there is no flock(2) that ends by itself."""
        line = self._line
        if line is None or not line.ask():
            line = self._line = _Line(self._next, self._writer)
        line.wait(self._patience)


class _Line:
    """A thread that lines up for its process, with copies of the descriptors: the process may close its own."""

    def __init__(self, following: int, writer: int) -> None:
        self._mutex = threading.Lock()
        self._asked = threading.Lock()  # free: there is something to be done
        self._come = threading.Lock()  # free: it is our turn
        self._come.acquire()
        self._waiting = True
        self._left = False
        self._ended = False
        self._descriptors = os.dup(following), os.dup(writer)
        threading.Thread(target=self._work, name="perdure-write-turns", daemon=True).start()

    def is_left_behind(self) -> bool:
        """Does it still wait for a turn that there was no patience for?

        Its descriptors are copies: a lock that is asked for meanwhile is had as soon as it has it, and lost again when
        it gives that turn away.
        """
        with self._mutex:
            return self._left and not self._ended

    def ask(self) -> bool:
        """Have it line up. False: it has ended."""
        with self._mutex:
            if self._ended:
                return False
            self._waiting = True
            self._asked.release()
            return True

    def wait(self, seconds: float) -> None:
        """Until it is our turn, or for so long."""
        come = False
        try:
            come = self._come.acquire(timeout=seconds)
        finally:
            if not come:  # there is no patience left, or a signal's handler has raised something
                with self._mutex:
                    self._left = self._waiting
                    self._come.acquire(blocking=False)

    def close_in_child(self) -> None:
        """After a fork: the thread is not there, its descriptors are."""
        if not self._ended:
            self._ended = True
            for descriptor in self._descriptors:
                os.close(descriptor)

    def _work(self) -> None:
        following, writer = self._descriptors
        try:
            while self._is_asked():
                flock(following, LOCK_EX)
                flock(writer, LOCK_EX)
                flock(following, LOCK_UN)
                with self._mutex:
                    self._waiting = False
                    if self._left:
                        self._left = False
                        flock(writer, LOCK_UN)
                    else:
                        self._come.release()
        finally:
            with self._mutex:
                self._ended = True
                if self._waiting:  # no such locks, after all
                    self._come.release()
            os.close(following)
            os.close(writer)

    def _is_asked(self) -> bool:
        if self._asked.acquire(timeout=IDLE):
            return True
        with self._mutex:
            self._ended = not self._asked.acquire(blocking=False)
            return not self._ended
