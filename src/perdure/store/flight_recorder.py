"""The flight recorder: which attempts are in flight, in a small file that outlives the process.

A file `<state>-flight/<token>.rec` for each process: what is written there is the kernel's at once, so it survives the
death of the process however it dies (not a power cut: nothing is flushed, and so it is cheap).
The token is that of the process's lock (`store/holders.py`), which says whether it lives.

    bytes 0 to 1023    who: process id, boot, script, start, progress; and from the watchdog: memory, last sign of life
    then               slots of 512 bytes, one for each attempt in flight; the byte that makes a slot valid comes last

The offsets of the header are written a second time in `alerts/watchdog/process.py`, which imports nothing of ours.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import msgspec

if sys.platform != "win32":
    import resource

from perdure.config.os_errors import named, remove
from perdure.config.ownership import NO_LINK, make_file, make_folder
from perdure.config.steady_clock import steady
from perdure.core.execution.crash_loop import WIDTH, fitted
from perdure.errors import StateUntrusted
from perdure.store.liveness import file_token, is_held

MAGIC = b"PERDFLT1"
HEADER = struct.Struct("<8sIIdQQdBxHI16s64s")
"""Magic and version, process id, size of a slot, start, progress, memory, seen, reported, length of the script's path,
attempts without a slot, boot id, cause of death. The script's path follows."""

PROGRESS, MEMORY, REPORTED, MORE, CAUSE = 24, 32, 48, 52, 72
"""Offsets of the header that are written on their own; `seen` follows the memory."""

SCRIPT = HEADER.size
SLOT = 512
SLOTS_AT = 1024
SLOTS = 4000
"""A file grows by a slot for each attempt in flight; beyond so many it only says that there are more."""

_FIELDS = f"<dQIHH16s{WIDTH}s{WIDTH}sB"
RECORD = struct.Struct(f"{_FIELDS}{SLOT - struct.calcsize(_FIELDS)}x")
"""Start, occurrence, attempt, lengths of the run's id and of the name, key, run's id, name, valid."""

TRACE = 1 << 16
"""Bytes that a SIGTERM may leave behind the slots (`_note_sigterm`)."""

VALID = struct.calcsize(_FIELDS) - 1

Slot = int | None
"""The place of an attempt in the file; None for one beyond what the file holds."""

MOVED = 0.1
"""Seconds between two times that progress is written down: those who watch for a stall look less often."""

LOOK = 0.5
"""Seconds between two looks at the memory in use."""

_counter = struct.Struct("<Q")
_small = struct.Struct("<I")


class InFlight(msgspec.Struct, frozen=True):
    """An attempt that was under way: of which call of which run, and since when (seconds since the epoch)."""

    run: str
    name: str
    key: bytes
    n: int
    attempt: int
    started: float


class Flight(msgspec.Struct, frozen=True):
    """What a process was doing when it was last heard of.

    `seen` is its last sign of life (seconds since the epoch), `memory` the most it was seen to use (bytes; 0: not
    measured), `calls` the attempts in flight and `more` how many the file had no room for, `cause` how it died as far
    as its watchdog process knows, `reported` whether its death was reported, `watched` whether it had such a process.
    `boot` is 16 zero bytes if unknown.
    """

    path: Path
    token: str
    pid: int
    boot: bytes
    script: str
    started: float
    seen: float
    memory: int
    calls: list[InFlight]
    more: int
    cause: str
    reported: bool
    watched: bool = False


def folder_of(state: Path) -> Path:
    """Where the flight records of a state file lie."""
    return state.with_name(state.name + "-flight")


def record_of(state: Path, token: str) -> Path:
    """The record of the process that goes by a token in a state file."""
    return folder_of(state) / f"{file_token(token)}.rec"


def boot_id() -> bytes:
    """16 bytes that change with every start of the machine (random(4)); zeros where the system does not say."""
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_bytes().decode("ascii").replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


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
        self._end = SLOTS_AT
        self._more = 0
        self._look_at = self._progress_at = 0.0
        self._tick = count(1).__next__
        self._file: _File | None = _File(make_file(self.path, os.O_EXCL | os.O_RDWR))
        path = os.fsencode(script)[: SLOTS_AT - SCRIPT - 1]
        header = HEADER.pack(
            MAGIC, os.getpid(), SLOT, now, 0, 0, 0.0, 0, len(path), 0, boot_id(), b""
        )  # fmt: skip
        try:
            if _write_at(self._file.descriptor, (header + path).ljust(SLOTS_AT, b"\0"), 0) != SLOTS_AT:
                raise OSError("the file could not be made longer")
        except BaseException:
            self._file = None
            remove(self.path)
            raise
        self._asked = _note_sigterm(self.path)

    def begin(self, run_id: str, name: str, key: bytes, n: int, attempt: int, started: float) -> Slot:
        """An attempt begins.

        Args:
            run_id: the run.
            name: the step's name.
            key: the digest that identifies the call, 16 bytes.
            n: how many times name and key came before in the run.
            attempt: its number, from 1.
            started: seconds since the epoch.
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
            if len(run) > WIDTH or len(step) > WIDTH:
                run, step = fitted(run_id).encode(), fitted(name).encode()
            data = RECORD.pack(started, n, attempt, len(run), len(step), key, run, step, 1)
            if _write_at(file.descriptor, data, slot) == SLOT:
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
            _write_at(file.descriptor, b"\0", slot + VALID)
            if done:
                count = self._tick()
                now = steady()
                if now >= self._progress_at:
                    self._progress_at = now + MOVED
                    _write_at(file.descriptor, _counter.pack(count), PROGRESS)
        except OSError:
            pass
        self._free.append(slot)

    def _look(self, now: float) -> None:
        """Note now and then the most memory that this process has used; a watchdog process sees more."""
        self._look_at = now + LOOK
        file = self._file
        if sys.platform == "win32" or file is None:
            return
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        with suppress(OSError, struct.error):
            if peak > _counter.unpack(_read_at(file.descriptor, MEMORY, _counter.size))[0]:
                _write_at(file.descriptor, _counter.pack(peak), MEMORY)

    def progress(self) -> None:
        """Something moves that is not a step: it counts as progress for those who watch for a stall."""
        file = self._file
        if file is not None:
            with suppress(OSError):
                _write_at(file.descriptor, _counter.pack(self._tick()), PROGRESS)

    def close(self) -> None:
        """Remove the file, unless attempts are in flight: then the process ends in their middle, and it stays."""
        if self._file is None:
            return
        in_flight = (self._end - SLOTS_AT) // SLOT - len(self._free) or self._more
        self.close_in_child()
        if not in_flight:
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
                    _write_at(file.descriptor, _small.pack(self._more), MORE)


def read(path: Path) -> Flight | None:
    """What a flight record says; None if it is gone, or not one that this version understands.

    Whatever is torn in it is left out.
    """
    try:
        # As much as a recorder ever writes: another user may have put a pipe there, or a file without an end.
        with open(os.open(path, os.O_RDONLY | NO_LINK), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return None
            data = file.read(SLOTS_AT + SLOTS * SLOT + TRACE)
    except OSError:
        return None
    written = found.st_mtime
    if len(data) < SLOTS_AT or data[: len(MAGIC)] != MAGIC:
        return None
    _, pid, size, started, _, memory, seen, reported, length, more, boot, cause = HEADER.unpack_from(data)
    if size != SLOT:
        return None
    calls = [call for at in range(SLOTS_AT, len(data) - SLOT + 1, SLOT) if (call := _call(data, at)) is not None]
    calls.sort(key=lambda call: call.started)
    return Flight(
        path=path,
        token=path.stem,
        pid=pid,
        boot=boot,
        script=os.fsdecode(data[SCRIPT : SCRIPT + length]),
        started=started,
        seen=seen or max([written, started, *(call.started for call in calls)]),
        memory=memory,
        calls=calls,
        more=more,
        cause=cause.rstrip(b"\0").decode("utf-8", "replace") or ("SIGTERM" if data[-1:] != b"\0" else ""),
        reported=reported != 0,
        watched=seen != 0,
    )


def _call(data: bytes, at: int) -> InFlight | None:
    if data[at + VALID] != 1:
        return None
    started, n, attempt, run_length, name_length, key, run, name, _ = RECORD.unpack_from(data, at)
    if not 0 < run_length <= WIDTH or not 0 < name_length <= WIDTH or not attempt:
        return None
    run, name = (part[:size].decode("utf-8", "replace") for part, size in ((run, run_length), (name, name_length)))
    return InFlight(run, name, key, n, attempt, started)


def left_behind(folder: Path, locks: Path) -> list[Flight]:
    """The flight records of dead processes that have not been reported, oldest first.

    Args:
        folder: where the records lie.
        locks: where the processes' locks lie.
    """
    return [flight for flight in dead(folder, locks) if not flight.reported]


def dead(folder: Path, locks: Path) -> list[Flight]:
    """The flight records of all dead processes, reported or not, oldest first."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(".rec")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise named(error, folder) from error
    gone = [name for name in names if _is_dead(locks / f"{name.removesuffix('.rec')}.lock")]
    flights = [flight for name in gone if (flight := read(folder / name)) is not None]
    return sorted(flights, key=lambda flight: flight.started)


def _is_dead(lock: Path) -> bool:
    try:
        return not is_held(lock)
    except StateUntrusted:  # another user's, which is reported elsewhere
        return False


TRIES = 3
TRY = 0.005
"""Seconds. A look whether the lock is free holds it for a moment itself."""


@contextmanager
def reporting(path: Path) -> Iterator[bool]:
    """Hold the right to report a dead process; yields whether it is ours and has not been reported yet.

    The lock is the record's own (flock(2)): a watchdog process holds it from the start until it has reported or died.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | NO_LINK)
    except OSError:
        yield False
        return
    try:
        yield _locked(descriptor) and _read_at(descriptor, REPORTED, 1) == b"\0"
    finally:
        os.close(descriptor)


def is_watched(path: Path) -> bool:
    """Does a process hold the right to report that one?"""
    try:
        descriptor = os.open(path, os.O_RDWR | NO_LINK)
    except OSError:
        return False
    try:
        return not _locked(descriptor)
    finally:
        os.close(descriptor)


def mark_reported(path: Path) -> None:
    """Its death has been reported. On the disk when it returns: after a power cut it is not reported again."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDWR | NO_LINK)
        try:
            _write_at(descriptor, b"\1", REPORTED)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def stand_in(folder: Path, token: str, pid: int, started: float) -> Path:
    """A record for a process that left none (a power cut took it, or the disk was full): it is to be reported once."""
    make_folder(folder)
    path = folder / f"{token}.rec"
    header = HEADER.pack(MAGIC, pid, SLOT, started, 0, 0, started, 0, 0, 0, bytes(16), b"")
    with suppress(FileExistsError):
        descriptor = make_file(path, os.O_EXCL | os.O_RDWR)
        try:
            _write_at(descriptor, header.ljust(SLOTS_AT, b"\0"), 0)
        finally:
            os.close(descriptor)
    return path


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


_seeking = threading.Lock()
POSIX = hasattr(os, "pwrite")


def _write_at(descriptor: int, data: bytes, at: int) -> int:
    if POSIX:
        return os.pwrite(descriptor, data, at)
    with _seeking:
        os.lseek(descriptor, at, os.SEEK_SET)
        return os.write(descriptor, data)


def _read_at(descriptor: int, at: int, size: int) -> bytes:
    if POSIX:
        return os.pread(descriptor, size, at)
    with _seeking:
        os.lseek(descriptor, at, os.SEEK_SET)
        return os.read(descriptor, size)


def _locked(descriptor: int) -> bool:
    from filelock import lock_descriptor

    for _ in range(TRIES - 1):
        if lock_descriptor(descriptor, blocking=False):
            return True
        time.sleep(TRY)
    return lock_descriptor(descriptor, blocking=False)
