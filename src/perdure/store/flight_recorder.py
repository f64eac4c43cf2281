"""The flight recorder of a process: it says which attempts are in flight and which calls wait, in its flight record."""

from __future__ import annotations

import os
import struct
import sys
import threading
from collections import deque
from contextlib import suppress
from itertools import count
from pathlib import Path

if sys.platform != "win32":
    import resource

from perdure.config.os_errors import remove
from perdure.config.ownership import NO_LINK, make_file, make_folder
from perdure.config.steady_clock import steady
from perdure.core.execution.crash_loop import WIDTH, fitted
from perdure.store.flight_record import (
    HEADER,
    MAGIC,
    MEMORY,
    MORE,
    MORE_OF_CALL,
    MOST_WAITING,
    PROGRESS,
    RECORD,
    RUNNING,
    SCRIPT,
    SLOT,
    SLOTS,
    SLOTS_AT,
    TAIL,
    TEXT,
    VALID,
    WAITING,
    boot_id,
    mark_cause,
    read_at,
    write_at,
)

Slot = int | None
"""The place of an attempt in the file; None for one beyond what the file holds."""

MOVED = 0.1
"""Seconds between two times that progress is written down: those who watch for a stall look less often."""

LOOK = 0.5
"""Seconds between two looks at the memory in use."""

_counter = struct.Struct("<Q")
_small = struct.Struct("<I")


class _File:
    """A descriptor that is closed when nothing uses it any more: its number may be another file's then."""

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self.descriptor)


class Recorder:
    """Says which attempts of this process are in flight. Any thread may call `begin` and `end`; neither ever raises.

    Written with pwrite(2), not mapped into memory: what is done to the file from outside cannot end the process then
    (a file that is cut short under a mapping is a SIGBUS).

    Args:
        folder: where the file goes; made if missing.
        token: that of this process's lock, which it must hold already.
        script: the path of the script, for those who read the file.
        now: seconds since the epoch.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path, token: str, script: str = "", now: float = 0.0) -> None:
        make_folder(folder)
        self.path = folder / f"{token}.rec"
        self._free: deque[int] = deque()
        self._growing = threading.Lock()
        self.ends = ""  # how the process has said that it would
        self._end = SLOTS_AT
        self._more = 0
        self._waiting = 0
        self._look_at = self._progress_at = 0.0
        self._tick = count(1).__next__
        self._file: _File | None = _File(make_file(self.path, os.O_EXCL | os.O_RDWR))
        path = os.fsencode(script)[: SLOTS_AT - SCRIPT - 1]
        header = HEADER.pack(
            MAGIC, os.getpid(), SLOT, now, 0, 0, 0.0, 0, len(path), 0, boot_id(), b""
        )  # fmt: skip
        try:
            if write_at(self._file.descriptor, (header + path).ljust(SLOTS_AT, b"\0"), 0) != SLOTS_AT:
                raise OSError("the file could not be made longer")
        except BaseException:
            self._file = None
            remove(self.path)
            raise
        self._asked = _note_sigterm(self.path)

    def begin(self, run_id: str, name: str, key: bytes, n: int, attempt: int, started: float, label: str = "") -> Slot:
        """An attempt begins.

        Args:
            run_id: the run.
            name: the step's name.
            key: the digest that identifies the call, 16 bytes.
            n: how many times name and key came before in the run.
            attempt: its number, from 1.
            started: seconds since the epoch.
            label: what tells the call from others for people.
        """
        if started >= self._look_at:
            self._look(started)
        try:
            slot = self._free.pop()
        except IndexError:
            if (another := self._another()) is None:
                return None
            slot = another
        file = self._file
        if file is None:
            return slot
        try:
            run, step = run_id.encode(), name.encode()
            run_size, step_size = len(run), len(step)
            if run_size > WIDTH or step_size > WIDTH:
                run, step = fitted(run_id).encode(), fitted(name).encode()
                run_size, step_size = len(run), len(step)
            data = RECORD.pack(started, n, attempt, run_size, step_size, key, run, step, RUNNING)
            if label:
                data = _with_tail(data, step, label, 0.0, "")
            if write_at(file.descriptor, data, slot) == SLOT:
                return slot
        except (ValueError, struct.error):
            return slot  # a name with a lone surrogate
        except OSError:
            pass
        self._free.append(slot)  # the disk is full
        self._count(1)
        return None

    def end(self, slot: Slot, done: bool = True) -> None:
        """An attempt has ended; `done` if that is progress (a failed attempt is none)."""
        if slot is None:
            self._count(-1)
            return
        file = self._file
        if file is None:
            return  # in a forked child, or closed: the slot is not ours any more
        try:
            write_at(file.descriptor, b"\0", slot + VALID)
            if done:
                count = self._tick()
                now = steady()
                if now >= self._progress_at:
                    self._progress_at = now + MOVED
                    write_at(file.descriptor, _counter.pack(count), PROGRESS)
        except OSError:
            pass
        self._free.append(slot)

    def wait(
        self,
        run_id: str,
        name: str,
        key: bytes,
        n: int,
        attempt: int,
        since: float,
        until: float,
        reason: str,
        label: str = "",
    ) -> Slot:
        """A call waits; what is returned goes to `waited` when that is over.

        Args:
            run_id: the run.
            name: the step's name; empty outside of steps.
            key: the digest that identifies the call, 16 bytes.
            n: how many times name and key came before in the run.
            attempt: the number of the attempt that comes next.
            since: seconds since the epoch.
            until: the same; 0 if that is not known.
            reason: what it waits for, in a few words; empty: for the time between two attempts.
            label: what tells the call from others for people.
        """
        with self._growing:
            if self._waiting >= MOST_WAITING:
                return None
            self._waiting += 1
        try:
            slot = self._free.pop()
        except IndexError:
            with self._growing:
                slot, room = self._end, self._end < SLOTS_AT + SLOTS * SLOT
                self._end += SLOT * room
                self._waiting -= not room
            if not room:
                return None
        file = self._file
        if file is not None:
            run, step = fitted(run_id).encode("utf-8", "replace"), fitted(name).encode("utf-8", "replace")
            try:
                data = RECORD.pack(since, n, attempt, len(run), len(step), key, run, step, WAITING)
                write_at(file.descriptor, _with_tail(data, step, label, until, reason), slot)
            except (OSError, struct.error):
                pass  # it is not seen, then
        return slot

    def waited(self, slot: Slot) -> None:
        """A call does not wait any more."""
        if slot is None:
            return
        file = self._file
        if file is None:
            return
        with suppress(OSError):
            write_at(file.descriptor, b"\0", slot + VALID)
        with self._growing:
            self._waiting -= 1
        self._free.append(slot)

    def how_far(self, slot: Slot, done: float, total: float | None, note: str) -> None:
        """An attempt says how far it is."""
        file = self._file
        if slot is not None and file is not None:
            data = TAIL.pack(0, done, total or 0.0, _cut(note.encode("utf-8", "replace"), TEXT))
            with suppress(OSError, struct.error):
                write_at(file.descriptor, data[1:], slot + MORE_OF_CALL + 1)

    def _look(self, now: float) -> None:
        """Note now and then the most memory that this process has used; a watchdog process sees more."""
        self._look_at = now + LOOK
        file = self._file
        if sys.platform == "win32" or file is None:
            return
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        with suppress(OSError, struct.error):
            if peak > _counter.unpack(read_at(file.descriptor, MEMORY, _counter.size))[0]:
                write_at(file.descriptor, _counter.pack(peak), MEMORY)

    def progress(self) -> None:
        """Something moves that is not a step: it counts as progress for those who watch for a stall."""
        file = self._file
        if file is not None:
            with suppress(OSError):
                write_at(file.descriptor, _counter.pack(self._tick()), PROGRESS)

    def say(self, cause: str) -> None:
        """Say how this process is about to end, which is not reported then; "": it is not."""
        if cause != self.ends:
            self.ends = cause
            mark_cause(self.path, cause)

    def close(self) -> None:
        """Remove the file, unless it says how the process ends, or attempts are in flight, in whose middle it does."""
        if self._file is None:
            return
        in_flight = (self._end - SLOTS_AT) // SLOT - len(self._free) - self._waiting or self._more
        self.close_in_child()
        if not in_flight and not self.ends:
            remove(self.path)

    def close_in_child(self) -> None:
        """After a fork the child shares the file: what it does must not show there."""
        self._growing = threading.Lock()
        self._free.clear()
        self._file = None
        if self._asked >= 0:
            _forget_sigterm(self._asked)
            self._asked = -1

    def _another(self) -> int | None:
        with self._growing:
            if self._end < SLOTS_AT + SLOTS * SLOT:
                self._end += SLOT
                return self._end - SLOT
        self._count(1)
        return None

    def _count(self, by: int) -> None:
        with self._growing:
            self._more = max(self._more + by, 0)
            file = self._file
            if file is not None:
                with suppress(OSError):
                    write_at(file.descriptor, _small.pack(self._more), MORE)


def _with_tail(record: bytes, name: bytes, label: str, until: float, reason: str) -> bytes:
    """A slot, with a label behind the name, and what else few calls have."""
    said = _cut(label.encode("utf-8", "replace"), min(WIDTH - len(name), 255))
    at = VALID - WIDTH + len(name)
    tail = TAIL.pack(len(said), until, 0.0, _cut(reason.encode("utf-8", "replace"), TEXT))
    return record[:at] + said + record[at + len(said) : MORE_OF_CALL] + tail


def _cut(text: bytes, most: int) -> bytes:
    """As much of a text as there is room for."""
    if len(text) <= most:
        return text
    dots = b"..." if most > 3 else b""
    return text[: most - len(dots)].decode("utf-8", "ignore").encode() + dots


def _note_sigterm(path: Path) -> int:
    """Have it noted, at the end of the record, if the process is asked to end; a descriptor, -1 if that cannot be had.

    A watchdog process sees that, but most runs have none. The handler is one of C
    (faulthandler): it works inside a call that does not return, and then does what SIGTERM would have done. A program
    that has a handler of its own is left alone.
    """
    import _signal  # type: ignore[import-not-found]  # the module `signal` is slow to import

    if os.name != "posix" or _signal.getsignal(_signal.SIGTERM) != _signal.SIG_DFL:
        return -1
    import faulthandler

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | NO_LINK)
        faulthandler.register(_signal.SIGTERM, descriptor, all_threads=False, chain=True)
    except (OSError, ValueError, RuntimeError):
        return -1
    return descriptor


def _forget_sigterm(descriptor: int) -> None:
    import _signal
    import faulthandler

    faulthandler.unregister(_signal.SIGTERM)
    os.close(descriptor)
