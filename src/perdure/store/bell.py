"""Wakes who waits for something in a state file: a signal, the end of a run, work for a worker.

Each process that listens has a FIFO beside the locks, and who has written something that others may wait for rings all
of them. Nothing depends on it: once a second the file itself is asked whether another connection has changed it, so
without FIFOs (they were removed, the ringer died before it rang, the system has none) everybody wakes within a second.

    with bell.listen() as ear:  # from here on nothing is missed
        while not there():
            ear.wait(seconds)

The state file is what counts: who is woken looks into it, and may find nothing. Who waits for no more than ends of runs
has a bell of its own kind: workers are not woken by what they write themselves.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from perdure.config.os_errors import remove
from perdure.config.ownership import NO_LINK, make_folder, shared
from perdure.config.steady_clock import is_frozen
from perdure.store.connection import open_connection
from perdure.store.liveness import locks_of

if TYPE_CHECKING:
    import asyncio

LOOK_SECONDS = 1.0
"""Seconds between two looks at whether the file has changed."""

LONGEST = 86_400.0
"""Seconds that one wait takes at most: who waits for longer looks once a day."""

SUFFIX = ".bell"

ENDS = ".ends"
"""The suffix of the bells that are rung when a run has ended, or nobody executes it any more."""

FRESH = 100_000_000
"""Nanoseconds. A folder whose time stamp is younger may change once more under the same stamp."""


def ring(state: Path, suffix: str = SUFFIX) -> None:
    """Wake everybody, in all processes, who listens at that state file. Fails silently: they look by themselves."""
    for bell in _bells.get((state, suffix), ()):
        bell.ring_here()
    with suppress(OSError):
        for path in _hung_up(state, suffix):
            _ring_at(path)


_folders: dict[Path, tuple[os.stat_result, dict[str, list[Path]]]] = {}
"""What bells of each kind lay in the folder of the locks of a state file when that was changed last."""


def _hung_up(state: Path, suffix: str) -> list[Path]:
    """The bells of that kind; the folder is only read if it has changed."""
    folder = locks_of(state)
    found = os.stat(folder)
    before = _folders.get(state)
    if before is not None and os.path.samestat(before[0], found) and before[0].st_mtime_ns == found.st_mtime_ns:
        paths = before[1]
    else:
        names = [entry.path for entry in os.scandir(folder)]
        paths = {kind: [Path(name) for name in names if name.endswith(kind)] for kind in (SUFFIX, ENDS)}
        if time.time_ns() - found.st_mtime_ns > FRESH:
            _folders[state] = found, paths
        else:
            _folders.pop(state, None)
    return paths[suffix]


def _ring_at(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | NO_LINK)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nobody reads it: its process is dead
            with suppress(OSError):
                remove(path)
        return
    try:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            with suppress(OSError):  # it is full: it has been rung
                os.write(descriptor, b"\0")
    finally:
        os.close(descriptor)


class Ear:
    """One that listens: a thread (`wait`) or a task (`await_ring`). A ring is kept until it asks.

    Args:
        bell: what it listens to.
    """

    __slots__ = ("_bell", "_future", "_loop", "_wake")

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._wake = threading.Lock()  # free: it was rung
        self._wake.acquire()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._future: asyncio.Future[None] | None = None

    def wait(self, seconds: float) -> bool:
        """Block this thread until it is rung, the file has changed, or the time is over.

        Args:
            seconds: how long at most.

        Returns:
            Whether there may be something new; False if the time is over.
        """
        return self._wake.acquire(timeout=max(0.0, min(seconds, LONGEST)))

    async def await_ring(self, seconds: float) -> bool:
        """The same for a task."""
        import asyncio

        if self._wake.acquire(False):
            return True
        loop = asyncio.get_running_loop()
        self._loop, self._future = loop, loop.create_future()
        cancel = _later(loop, max(0.0, min(seconds, LONGEST)), self._end)
        try:
            if not self._wake.acquire(False):  # not rung between the two looks
                await self._future
            else:
                return True
        finally:
            cancel()
            self._future = None
        return self._wake.acquire(False)

    def ring(self) -> None:
        """There may be something new."""
        with suppress(RuntimeError):  # it was rung before, and has not asked since
            self._wake.release()
        loop = self._loop
        if loop is not None and self._future is not None:
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._future is not None:
            from asyncio import InvalidStateError

            with suppress(InvalidStateError):  # it is done, or given up
                self._future.set_result(None)

    def close(self) -> None:
        """Listen no more."""
        self._bell.leave(self)

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _later(loop: asyncio.AbstractEventLoop, seconds: float, end: Callable[[], None]) -> Callable[[], None]:
    if not is_frozen():
        return loop.call_later(seconds, end).cancel

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(end)

    timer = threading.Timer(seconds, wake)
    timer.name, timer.daemon = "perdure-bell-timer", True
    timer.start()
    return timer.cancel


_bells: dict[tuple[Path, str], list[Bell]] = {}
"""Those of this process, by state file and suffix: they are rung without a FIFO too."""


class Bell:
    """What wakes the threads and tasks of this process that wait for something in a state file.

    A thread of its own waits for the FIFO, as long as somebody listens.

    Args:
        state: the state file.
        every: seconds between two looks at whether the file has changed.
        suffix: of its FIFO: what it is rung for.
    """

    def __init__(self, state: Path, *, every: float = LOOK_SECONDS, suffix: str = SUFFIX) -> None:
        self._state = state
        self._suffix = suffix
        self._every = every
        self._mutex = threading.Lock()
        self._ears: set[Ear] = set()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._name: Path | None = None
        self._reader = self._writer = -1
        self._nudge = threading.Event()  # in the place of the FIFO, where there is none
        self._connection: apsw.Connection | None = None
        self._seen: tuple[Any, ...] | None = None
        _bells.setdefault((state, suffix), []).append(self)

    def listen(self) -> Ear:
        """Begin to listen: what happens from here on wakes the ear, also before it waits."""
        ear = Ear(self)
        with self._mutex:
            self._ears.add(ear)
            if self._thread is None and not self._closed:
                self._changed()  # from here on
                self._open()
                self._thread = threading.Thread(target=self._work, name="perdure-bell", daemon=True)
                self._thread.start()
        return ear

    def leave(self, ear: Ear) -> None:
        """That one listens no more."""
        with self._mutex:
            self._ears.discard(ear)

    def ring_here(self) -> None:
        """Wake all that listen in this process."""
        with self._mutex:
            ears = tuple(self._ears)
        for ear in ears:
            ear.ring()

    def close(self) -> None:
        """Remove the FIFO; who still waits is woken, and hears nothing more."""
        with self._mutex:
            self._closed = True
            thread = self._thread
            self._forget()
            if self._name is not None:
                with suppress(OSError):
                    remove(self._name)
            if thread is None:
                self._let_go()
            else:
                self._stir()
        self.ring_here()
        if thread is not None and thread is not threading.current_thread():
            with suppress(RuntimeError):  # Ctrl-C came before it was started
                thread.join(LOOK_SECONDS)

    def __enter__(self) -> Bell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close_in_child(self) -> None:
        """After a fork: the FIFO is the parent's, its thread does not exist, and a connection does not cross."""
        self._mutex = threading.Lock()
        self._ears = set()
        self._thread = None
        self._closed = True
        self._close_fifo()
        self._forget()

    def _forget(self) -> None:
        bells = _bells.get((self._state, self._suffix), [])
        if self in bells:
            bells.remove(self)

    def _stir(self) -> None:
        self._nudge.set()
        if self._writer >= 0:
            with suppress(OSError):
                os.write(self._writer, b"\0")

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            rung = self._wait()
            with self._mutex:
                if self._closed or not self._ears:
                    self._thread = None
                    if self._closed:
                        self._let_go()
                    return
                changed = self._changed()
            if rung or changed:
                self.ring_here()

    def _wait(self) -> bool:
        """Wait until the FIFO is rung, or it is time to look at the file."""
        if self._reader < 0:
            self._nudge.wait(self._every)
            return False
        import select

        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        if not poll.poll(self._every * 1000):
            return False
        with suppress(BlockingIOError):
            os.read(self._reader, 4096)
        return True

    def _changed(self) -> bool:
        """Has another connection changed the file, or may it have, since this was asked last?"""
        before = self._seen
        try:
            found = os.stat(self._state)
            file = (found.st_dev, found.st_ino)
            if before is None or before[:2] != file:
                self._disconnect()
            if self._connection is None:
                self._connection = open_connection(self._state, "OFF", read_only=True)
                self._connection.set_busy_timeout(0)
            self._seen = (*file, self._connection.pragma("data_version"))
        except (OSError, apsw.Error):
            self._seen = None
        return self._seen is None or self._seen != before

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(apsw.Error):
                connection.close()

    # -- the FIFO -----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Make the FIFO, unless it is there. It gets its name when it is read: nobody takes it for a dead one's."""
        if self._reader >= 0 or not hasattr(os, "mkfifo"):
            return
        token = f"{os.getpid()}-{os.urandom(8).hex()}"
        folder = locks_of(self._state)
        new = folder / f"{token}.new"
        try:
            make_folder(folder)
            os.mkfifo(new, 0o600)
            os.chmod(new, 0o660 if shared() else 0o600)
            self._reader = os.open(new, os.O_RDONLY | os.O_NONBLOCK | NO_LINK)
            self._writer = os.open(new, os.O_WRONLY | os.O_NONBLOCK | NO_LINK)  # so that it never ends
            self._name = new.with_suffix(self._suffix)
            new.rename(self._name)
        except OSError:  # no place for it: the file is looked at
            self._close_fifo()
            with suppress(OSError):
                remove(new)

    def _close_fifo(self) -> None:
        reader, writer = self._reader, self._writer
        self._reader = self._writer = -1
        for descriptor in (reader, writer):
            if descriptor >= 0:
                os.close(descriptor)

    def _let_go(self) -> None:
        self._close_fifo()
        self._disconnect()
