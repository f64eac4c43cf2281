"""What attempts under way have spent, in a file that a kill spares: `<state>-spend/<token>`, one of each process.

Each attempt has a place of its own, which is written over when it spends more, and is another attempt's once a commit
has saved what it spent. So the file stays as long as there were attempts at a time, and a write costs what writing
over a page of memory costs: no block is added, and no flush is waited for, since what a process has written is there
when it is killed. It is written with pwrite(2), not mapped into memory (see `flight_recorder`).

A place lies within one page up to its body, so a kill leaves the amounts as they were or as they are. The body, whose
they are, is written once. A place that no attempt uses any more still says what the last one has spent; by `token` and
`serial` who reads the file knows that a commit has saved it.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import defaultdict
from contextlib import suppress
from errno import EBADF, ENOSPC
from itertools import count
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import msgspec

from perdure.config import ownership
from perdure.errors import StateIO, UsageError
from perdure.store.flight_record import write_at

SUFFIX: Final = "-spend"
MAGIC: Final = b"perdure spend 2\n"
"""The first bytes. A file of before has lines instead (`_of_lines`), none of which begins so."""

SLOT: Final = 256
"""Bytes that a place is a multiple of; the first are the header's."""

_HEAD = struct.Struct("<HHIIQQQ")  # slots, calls, length and crc of the body, serial, usd, tokens; its own crc follows
_HEAD_SIZE = _HEAD.size + 4
_head = _HEAD.pack
_crc = struct.Struct("<I").pack


class Spent(msgspec.Struct, array_like=True):
    """What an attempt has spent so far. `ledgers` are the labels of the blocks that it counts for."""

    serial: int
    run: int
    name: str
    key: bytes
    n: int
    usd: int
    tokens: int
    calls: int
    ms: int
    ledgers: str


class Noted(msgspec.Struct, eq=False, gc=False):
    """What an attempt under way has spent, and its place in the file of its process. Used under the file's lock.

    `in_record`: can the record of the call say it, if the attempt succeeds? For the rest see `Spent`. A Struct that is
    made whole, since one is made for each attempt that spends: each field that is set later costs as much as three.
    """

    file: SpendFile
    serial: int
    run: int
    name: str
    key: bytes
    n: int
    calls: int
    ledgers: str
    in_record: bool
    usd: int = 0
    tokens: int = 0
    ms: int = 0
    at: int = -1
    unused: Any = None  # the list that its place goes back to

    def note(self, usd: int, tokens: int) -> None:
        """It has spent that much more: written down before this returns.

        Raises:
            StateIO: it cannot be.
            UsageError: this process was forked from the one that executes the run.
        """
        usd += self.usd
        tokens += self.tokens
        self.at, self.unused = self.file.write(
            self.serial, self.run, self.name, self.key, self.n, self.calls, self.ledgers, usd, tokens, self.at
        )
        self.usd = usd
        self.tokens = tokens

    @property
    def spent(self) -> Spent:
        """What a row says of it."""
        return Spent(
            self.serial, self.run, self.name, self.key, self.n, self.usd, self.tokens, self.calls, self.ms, self.ledgers
        )

    def saved(self) -> None:
        """A commit has saved what it has spent, and it is over: its place is free."""
        if self.at >= 0:
            self.unused.append(self.at)
            self.at = -1


_encode = msgspec.msgpack.Encoder().encode
_decode_body = msgspec.msgpack.Decoder(tuple[int, str, bytes, int, str]).decode


class SpendFile:
    """The file of this process. Any thread may use it.

    Args:
        state: the state file.

    `lock` is held by who notes what an attempt spends, and counts it. `serials` number the attempts.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state.with_name(state.name + SUFFIX)
        self.lock = threading.Lock()
        self.descriptor = -1
        self._token = ""
        self.serials = count(1)
        self._forked = False
        self._forget()

    def belongs_to(self, token: str) -> None:
        """This process goes by that now: who executes a run keeps its token as long as that takes."""
        with self.lock:
            if token != self._token:
                self._close()
                self._token = token

    def write(
        self,
        serial: int,
        run: int,
        name: str,
        key: bytes,
        n: int,
        calls: int,
        ledgers: str,
        usd: int,
        tokens: int,
        at: int = -1,
    ) -> tuple[int, list[int]]:
        """Write down what an attempt has spent by now, at its place `at`; -1: it has none yet. Under the lock.

        Returns:
            Its place, and the list of such places: it goes back there.

        Raises:
            StateIO: it cannot be written.
            UsageError: this process was forked from the one that executes the run.
        """
        body = _encode((run, name, key, n, ledgers))
        size = len(body)
        slots = (_HEAD_SIZE + size + SLOT - 1) // SLOT
        free = self._free[slots]
        head = _head(slots, calls, size, crc32(body), serial, usd, tokens)
        data = head + _crc(crc32(head))
        begun = at >= 0
        if not begun:
            data += body
            if free:
                at = free.pop()
            else:
                if self.descriptor < 0:
                    self._open()
                at = self._end
                self._end += slots * SLOT
        try:
            if write_at(self.descriptor, data, at) != len(data):
                raise OSError(ENOSPC, os.strerror(ENOSPC))
        except OSError as error:
            if not begun:
                free.append(at)
            raise self.refused(error) from error
        return at, free

    def close(self) -> None:
        """The process is about to end; the file stays if it says what no commit has saved."""
        with self.lock:
            unused = sum(slots * len(places) for slots, places in self._free.items())
            saved, token = self._end == (1 + unused) * SLOT, self._token
            self._close()
            if saved and token:
                with suppress(OSError):
                    (self._folder / token).unlink()

    def close_in_child(self) -> None:
        """After a fork: what the child spends would stand in the place of what the parent does."""
        self.lock = threading.Lock()
        self._close()
        self._forked = True

    def refused(self, error: OSError) -> StateIO | UsageError:
        """Why nothing can be written."""
        if self._forked:
            return UsageError(
                "perdure.spend() is called in a process that a step has forked",
                "return what it has spent to the step, and call perdure.spend there",
            )
        return StateIO(
            f"what a step spends cannot be written: {self._folder} ({error.strerror})",
            "see the space and the permissions of the folder, then run again",
        )

    def _open(self) -> None:
        try:
            if self._forked:
                raise OSError(EBADF, os.strerror(EBADF))
            ownership.make_folder(self._folder)
            file = ownership.make_file(self._folder / self._token, os.O_RDWR)
            try:
                if write_at(file, MAGIC, 0) != len(MAGIC):
                    raise OSError(ENOSPC, os.strerror(ENOSPC))
            except OSError:
                os.close(file)
                raise
        except OSError as error:
            raise self.refused(error) from error
        self.descriptor = file

    def _close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1
        self._forget()

    def _forget(self) -> None:
        self._free: defaultdict[int, list[int]] = defaultdict(list)  # places, by their size in slots
        self._end = SLOT


def read(path: Path) -> list[Spent]:
    """What the attempts of a process have spent, as far as its file says.

    A place that a kill has cut short says nothing: its `spend` had not returned.

    Raises:
        OSError: it cannot be read.
    """
    with open(os.open(path, os.O_RDONLY | ownership.NO_LINK), "rb") as file:
        data = file.read()
    if not data.startswith(MAGIC):
        return _of_lines(data)
    found: dict[int, Spent] = {}
    at = SLOT
    while len(data) - at >= _HEAD_SIZE:
        slots, calls, size, crc, serial, usd, tokens = _HEAD.unpack_from(data, at)
        body = data[at + _HEAD_SIZE : at + _HEAD_SIZE + size]
        own = int.from_bytes(data[at + _HEAD.size : at + _HEAD_SIZE], "little")
        if crc32(data[at : at + _HEAD.size]) != own or len(body) != size or crc32(body) != crc:
            at += SLOT
            continue
        with suppress(msgspec.DecodeError):
            run, name, key, n, ledgers = _decode_body(body)
            found[serial] = Spent(serial, run, name, key, n, usd, tokens, calls, 0, ledgers)
        at += max(slots, 1) * SLOT
    return list(found.values())


def _of_lines(data: bytes) -> list[Spent]:
    """A file of before: a line for each `spend`, of which the last one of an attempt counts."""
    found: dict[int, Spent] = {}
    at = 0
    while len(data) - at >= 8:
        size, crc = int.from_bytes(data[at : at + 4], "little"), int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + size]
        if len(body) != size or crc32(body) != crc:
            break
        with suppress(msgspec.DecodeError):
            spent = msgspec.msgpack.decode(body, type=Spent)
            found[spent.serial] = spent
        at += 8 + size
    return list(found.values())
