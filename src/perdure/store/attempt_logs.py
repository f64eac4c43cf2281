"""What attempts have logged and printed: files beside the state file, for people only.

A file for each process, `<state>-logs/<token>-<part>.log`, appended to with write(2) and never flushed: what is written
is the kernel's, and survives the death of the process (not a power cut). A line is its length (4 bytes) and an
array of MessagePack.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from pathlib import Path

import msgspec

from perdure.config.os_errors import append_whole, remove
from perdure.config.ownership import NO_LINK, make_file, make_folder
from perdure.store.liveness import file_token

SUFFIX = "-logs"
PART = 8 << 20
"""Bytes of a file; behind them the next part begins."""
ALL = 256 << 20
"""Bytes of all files; the oldest go first."""
LONGEST = 64 << 10
"""Bytes in which the first line of a file is looked for."""


class LogLine(msgspec.Struct, frozen=True, array_like=True):
    """A line that an attempt has logged or printed, without credentials.

    Attributes:
        at: when, in seconds since the epoch.
        run: the id of the run, or child run.
        name, key, n: which call.
        attempt: which one of it, from 1.
        level: that of the record; empty for what was printed.
        logger: its name; of what was printed "stdout" or "stderr"; empty for what is said of lines that are left out.
        text: the line.
    """

    at: float
    run: str
    name: str
    key: bytes
    n: int
    attempt: int
    level: str
    logger: str
    text: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(LogLine).decode


def folder_of(state: Path) -> Path:
    """Where the files of a state file lie."""
    return state.with_name(state.name + SUFFIX)


class LogFile:
    """The lines of this process. Any thread may add some; a line that cannot be written is lost.

    Args:
        state: the state file.
        token: what the process goes by there.
    """

    def __init__(self, state: Path, token: str) -> None:
        self._folder = folder_of(state)
        self._name = file_token(token)
        self._lock = threading.Lock()
        self._file = -1
        self._size = 0
        self._part = 0

    def add(self, line: LogLine) -> int:
        """Write a line; returns how many bytes that took, 0 if it could not be written."""
        body = _encode(line)
        data = len(body).to_bytes(4, "little") + body
        with self._lock, suppress(OSError):
            if self._file < 0 or self._size > PART:
                self._next()
            append_whole(self._file, data)
            self._size += len(data)
            return len(data)
        return 0

    def _next(self) -> None:
        self.close()
        make_folder(self._folder)
        make_room(self._folder, PART)
        self._part += 1
        self._file = make_file(self._folder / f"{self._name}-{self._part}.log", os.O_WRONLY | os.O_APPEND)
        self._size = os.fstat(self._file).st_size

    def close(self) -> None:
        """Close the file; it is opened again when there is another line."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def make_room(folder: Path, more: int) -> None:
    """Remove the oldest files until there is room for so many bytes."""
    files = sorted(_files(folder), key=lambda each: each[1].st_mtime)
    size = sum(found.st_size for _, found in files)
    for path, found in files:
        if size + more <= ALL:
            return
        remove(path)
        size -= found.st_size


def lines_of(
    state: Path, run: str, *, holding: bytes = b"", since: float = 0.0, until: float = inf
) -> Iterator[LogLine]:
    """What a run has logged, a file after the other; damaged ends are left out.

    Args:
        state: the state file.
        run: the id of the run.
        holding: only lines with these bytes in them, as they are stored.
        since: lines of before this moment are not looked for: files that end earlier are not read.
        until: nor are lines of after this one.
    """
    wanted = run.encode("utf-8", "replace")
    for path, found in sorted(_files(folder_of(state)), key=lambda each: each[1].st_mtime):
        if found.st_mtime < since or (until < inf and _begins(path) > until):
            continue
        data = _read(path, 2 * PART)
        if wanted in data and holding in data:
            yield from (line for line in _lines(data, holding) if line.run == run)


def newest_with(state: Path, text: str) -> Iterator[LogLine]:
    """What all runs have logged that may have a text in it, the newest file first and in it the newest line; the text
    may stand in any part of a line. A file is read as a whole, so whoever asks can stop after any."""
    wanted = text.encode("utf-8", "replace")
    for path, _ in sorted(_files(folder_of(state)), key=lambda each: each[1].st_mtime, reverse=True):
        data = _read(path, 2 * PART)
        if wanted in data:
            yield from reversed([*_lines(data, wanted)])


def _begins(path: Path) -> float:
    """The moment of the first line of a file; 0 if it has none that can be read."""
    return next((line.at for line in _lines(_read(path, LONGEST))), 0.0)


def _lines(data: bytes, holding: bytes = b"") -> Iterator[LogLine]:
    at = 0
    while len(data) - at >= 4:
        size = int.from_bytes(data[at : at + 4], "little")
        body = data[at + 4 : at + 4 + size]
        at += 4 + size
        if len(body) < size:
            return  # it is being written, or a kill cut it short
        if holding not in body:
            continue
        try:
            yield _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return


def _read(path: Path, most: int) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | NO_LINK), "rb") as file:
            return file.read(most)
    except OSError:
        return b""


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    found = []
    with suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.endswith(".log"):
                with suppress(OSError):
                    found.append((Path(entry.path), entry.stat(follow_symlinks=False)))
    return found
