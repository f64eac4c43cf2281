"""Flight records: which attempts a process has in flight, in a small file that outlives it.

A file `<state>-flight/<token>.rec` for each process: what is written there is the kernel's at once, so it survives the
death of the process however it dies (not a power cut: nothing is flushed, and so it is cheap).
The token is that of the process's lock (`store/holders.py`), which says whether it lives.

    bytes 0 to 1023    who: process id, boot, script, start, progress; and from the watchdog: memory, last sign of life
    then               slots of 512 bytes, one for each attempt in flight, and for each call that waits (for its next
                       attempt, a breaker, its turn, a lock); the byte that says what a slot holds comes last

The offsets of the header are written a second time in `alerts/watchdog/process.py`, which imports nothing of ours.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from perdure.config.file_locks import is_free, lock_descriptor, unlock_descriptor
from perdure.config.os_errors import named
from perdure.config.ownership import NO_LINK, make_file, make_folder
from perdure.core.execution.crash_loop import WIDTH
from perdure.errors import StateUntrusted
from perdure.store.liveness import file_token, is_held

MAGIC = b"PERDFLT1"
HEADER = struct.Struct("<8sIIdQQdBxHI16s64s")
"""Magic and version, process id, size of a slot, start, progress, memory, seen, reported, length of the script's path,
attempts without a slot, boot id, cause of death. The script's path follows."""

PROGRESS, MEMORY, REPORTED, MORE, CAUSE = 24, 32, 48, 52, 72
CAUSE_LENGTH = 64
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
"""Bytes that a SIGTERM may leave behind the slots (see `flight_recorder`)."""

VALID = struct.calcsize(_FIELDS) - 1

RUNNING, WAITING = 1, 2
"""What a slot holds. An attempt is what a death speaks against, a call that waits is not."""

MORE_OF_CALL = VALID + 1
"""Behind the byte: what few calls have. The label stands behind the name, as far as it fits there."""
TEXT = SLOT - MORE_OF_CALL - struct.calcsize("<Bdd")
TAIL = struct.Struct(f"<Bdd{TEXT}s")
"""Length of the label; until when it waits, and 0; or how far it is, done and total; what it waits for, or a note."""

MOST_WAITING = SLOTS // 2
"""Calls that wait have so many slots at most: attempts are not to lack one."""


class InFlight(msgspec.Struct, frozen=True):
    """An attempt that was under way: of which call of which run, and since when (seconds since the epoch).

    `label` is the map's key of the item, `done`, `total` and `note` what the attempt has said of how far it is; `total`
    is 0 if it has not said so.
    """

    run: str
    name: str
    key: bytes
    n: int
    attempt: int
    started: float
    label: str = ""
    done: float = 0.0
    total: float = 0.0
    note: str = ""


class CallWaits(msgspec.Struct, frozen=True):
    """A call that waited before attempt `attempt`, since and until when (seconds since the epoch; 0: not known).

    `reason` says for what, and is empty for the pause between two attempts. `name` is empty outside of steps.
    """

    run: str
    name: str
    key: bytes
    n: int
    attempt: int
    since: float
    until: float
    reason: str
    label: str


class Flight(msgspec.Struct, frozen=True):
    """What a process was doing when it was last heard of.

    `seen` is its last sign of life (seconds since the epoch), `memory` the most it was seen to use (bytes; 0: not
    measured), `calls` the attempts in flight and `more` how many the file had no room for, `cause` how it died as far
    as its watchdog process knows, `reported` whether its death was reported, `watched` whether it had such a process.
    `boot` is 16 zero bytes if unknown. `waiting` are the calls that waited, at most `MOST_WAITING`.
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
    waiting: list[CallWaits] = []


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
    slots = [call for at in range(SLOTS_AT, len(data) - SLOT + 1, SLOT) if (call := _call(data, at)) is not None]
    calls = sorted((call for call in slots if type(call) is InFlight), key=lambda call: call.started)
    waiting = sorted((call for call in slots if type(call) is CallWaits), key=lambda call: call.since)
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
        waiting=waiting,
    )


def _call(data: bytes, at: int) -> InFlight | CallWaits | None:
    kind = data[at + VALID]
    if kind not in (RUNNING, WAITING):
        return None
    started, n, attempt, run_length, name_length, key, run, named, _ = RECORD.unpack_from(data, at)
    labelled, first, second, text = TAIL.unpack_from(data, at + MORE_OF_CALL)
    if not 0 < run_length <= WIDTH or not 0 <= name_length <= WIDTH:
        return None
    run, name, label = (
        part.decode("utf-8", "replace")
        for part in (run[:run_length], named[:name_length], named[name_length : name_length + labelled])
    )
    said = text.rstrip(b"\0").decode("utf-8", "ignore")
    if kind == WAITING:
        return CallWaits(run, name, key, n, attempt, started, first, said, label)
    return InFlight(run, name, key, n, attempt, started, label, first, second, said) if name and attempt else None


def runs_named(path: Path) -> list[str]:
    """The runs whose calls stood last in the slots of a record, in flight or over; of a record that is gone, none."""
    try:
        with open(os.open(path, os.O_RDONLY | NO_LINK), "rb") as file:
            data = file.read(SLOTS_AT + SLOTS * SLOT)
    except OSError:
        return []
    found = []
    for at in range(SLOTS_AT, len(data) - SLOT + 1, SLOT):
        *_, length, _, _, run, _, _ = RECORD.unpack_from(data, at)
        if 0 < length <= WIDTH:
            found.append(run[:length].decode("utf-8", "replace"))
    return list(dict.fromkeys(found))


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


TRIES = 400
TRY = 0.005
"""Seconds. A look whether the lock is free shares it for a moment, which is a long one on a busy machine."""


def locked_for_reporting(path: Path) -> int:
    """A descriptor of a record whose lock it holds: the right to report that process. -1: there is none to be had."""
    try:
        descriptor = os.open(path, os.O_RDWR | NO_LINK)
    except OSError:
        return -1
    with suppress(OSError):  # the file system has no locks
        if _locked(descriptor):
            return descriptor
    os.close(descriptor)
    return -1


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
        yield _locked(descriptor) and read_at(descriptor, REPORTED, 1) == b"\0"
    finally:
        os.close(descriptor)


def is_watched(path: Path) -> bool:
    """Does a process hold the right to report that one?"""
    try:
        descriptor = os.open(path, os.O_RDWR | NO_LINK)
    except OSError:
        return False
    try:
        return not is_free(descriptor)
    finally:
        os.close(descriptor)


def mark_reported(path: Path) -> None:
    """Its death has been reported. On the disk when it returns: after a power cut it is not reported again."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDWR | NO_LINK)
        try:
            write_at(descriptor, b"\1", REPORTED)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def mark_asked(path: Path) -> None:
    """Its process ends because it was asked to, which speaks against no step and is not reported."""
    mark_cause(path, "SIGTERM")


def mark_cause(path: Path, cause: str) -> None:
    """Its process says itself how it is about to end, and that is not reported; "": it goes on after all."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDWR | NO_LINK)
        try:
            write_at(descriptor, cause.encode().ljust(CAUSE_LENGTH, b"\0"), CAUSE)
            write_at(descriptor, b"\1" if cause else b"\0", REPORTED)
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
            write_at(descriptor, header.ljust(SLOTS_AT, b"\0"), 0)
        finally:
            os.close(descriptor)
    return path


_seeking = threading.Lock()
POSIX = hasattr(os, "pwrite")


def _seek_and_write(descriptor: int, data: bytes, at: int) -> int:
    with _seeking:
        os.lseek(descriptor, at, os.SEEK_SET)
        return os.write(descriptor, data)


write_at: Callable[[int, bytes, int], int] = os.pwrite if POSIX else _seek_and_write
"""Write bytes at an offset; returns how many were written. A step calls it twice: there is no function around."""


def read_at(descriptor: int, at: int, size: int) -> bytes:
    """Read up to so many bytes from an offset."""
    if POSIX:
        return os.pread(descriptor, size, at)
    with _seeking:
        os.lseek(descriptor, at, os.SEEK_SET)
        return os.read(descriptor, size)


def _locked(descriptor: int) -> bool:
    """Take the lock, unless another process has it: who only looks has it for a moment, and is waited for."""
    for _ in range(TRIES):
        if lock_descriptor(descriptor):
            return True
        if not is_free(descriptor):
            return False
        unlock_descriptor(descriptor)  # of the look
        time.sleep(TRY)
    return lock_descriptor(descriptor)
