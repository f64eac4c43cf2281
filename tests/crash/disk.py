"""A disk that loses power: which files, with which contents, may be found after a cut.

What was synced is there. Of what was not, the drive may have written anything: nothing, the beginning, some writes
and not others, some sectors of a write and not others; a file that was growing may end in garbage. Names that were
made or removed since the folder was synced may be there or not, in the order in which they were made.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SECTOR = 512


class Left(NamedTuple):
    """What is found of one file after a cut; equal to another if that has the same content for the same reasons.

    Args:
        synced: what was on the disk for certain.
        survivors: the changes beside it that reached the disk.
        noise: its last bytes, which are neither.
    """

    synced: bytes
    survivors: tuple[tuple[Any, ...], ...]
    noise: bytes

    def content(self) -> bytes:
        content = bytearray(self.synced)
        for event in self.survivors:
            _apply(content, event)
        if self.noise:
            content[-len(self.noise) :] = self.noise
        return bytes(content)


@dataclass
class Platter:
    """One file: what is on the disk for certain, and the writes and truncations on their way."""

    content: bytes = b""
    pending: list[tuple[Any, ...]] = field(default_factory=list)

    def sync(self) -> None:
        self.content = Left(self.content, tuple(self.pending), b"").content()
        self.pending.clear()

    def after_cut(self, rng: random.Random) -> Left:
        """What might be found."""
        survivors = tuple(_survivors(self.pending, rng))
        grown, size = len(self.content), _size(len(self.content), survivors)
        noise = b""
        if rng.random() < 0.2 and size > grown:
            # The size got there, the newest data did not.
            noise = rng.randbytes(size - rng.randrange(grown, size))
        return Left(self.content, survivors, noise)


class Disk:
    """Follows a recording; can be cut at any point of it.

    Args:
        honest: a disk that is not says that it has synced, and has not: the control that must lose something.
    """

    def __init__(self, *, honest: bool = True) -> None:
        self._honest = honest
        self._files: dict[int, Platter] = {}
        self._names: dict[str, int] = {}
        self._pending_names: list[tuple[Any, ...]] = []
        self.said: list[bytes] = []

    def follow(self, event: tuple[Any, ...]) -> None:
        """Take in the next event of the recording."""
        match event:
            case ("said", line):
                self.said.append(line)
            case ("create", number):
                self._files[number] = Platter()
            case ("write", number, _, _) | ("truncate", number, _):
                self._files[number].pending.append(event)
            case ("link", _, _) | ("unlink", _):
                self._pending_names.append(event)
            case ("sync", number) if self._honest:
                self._files[number].sync()
            case ("sync_folder",):
                # A disk that lies about data still has names: else its control would only show a missing file.
                self._sync_names(len(self._pending_names))

    def cut(self, rng: random.Random) -> dict[str, Left]:
        """The files that might be found after a power cut at this point, by their names."""
        names = dict(self._names)
        for event in self._pending_names[: rng.randint(0, len(self._pending_names))]:
            _rename(names, event)
        return {name: self._files[number].after_cut(rng) for name, number in names.items()}

    def _sync_names(self, count: int) -> None:
        for event in self._pending_names[:count]:
            _rename(self._names, event)
        del self._pending_names[:count]


def _rename(names: dict[str, int], event: tuple[Any, ...]) -> None:
    if event[0] == "link":
        names[event[1]] = event[2]
    else:
        names.pop(event[1], None)


def _apply(content: bytearray, event: tuple[Any, ...]) -> None:
    if event[0] == "truncate":
        size = event[2]
        content[size:] = b"\0" * max(0, size - len(content))
        return
    _, _, offset, data = event
    if offset > len(content):
        content.extend(b"\0" * (offset - len(content)))
    content[offset : offset + len(data)] = data


def _size(size: int, events: Iterable[tuple[Any, ...]]) -> int:
    """How long a file is after these changes."""
    for event in events:
        size = event[2] if event[0] == "truncate" else max(size, event[2] + len(event[3]))
    return size


def _survivors(pending: list[tuple[Any, ...]], rng: random.Random) -> list[tuple[Any, ...]]:
    """Which of the unsynced changes reached the disk, in one of the ways in which that happens."""
    way = rng.choice(("none", "prefix", "some", "torn", "torn", "all"))
    if way == "none":
        return []
    if way == "prefix":
        return pending[: rng.randint(0, len(pending))]
    if way == "some":
        return [event for event in pending if rng.random() < 0.5]
    if way == "torn":
        share = rng.random()
        sectors = [sector for event in pending for sector in _sectors(event)]
        return [sector for sector in sectors if rng.random() < share]
    return pending


def _sectors(event: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """A write as the drive sees it: sector by sector, none of them half (SQLITE_IOCAP_POWERSAFE_OVERWRITE)."""
    if event[0] == "truncate":
        return [event]
    _, number, offset, data = event
    cuts = [0, *range(SECTOR - offset % SECTOR, len(data), SECTOR), len(data)]
    return [("write", number, offset + start, data[start:end]) for start, end in itertools.pairwise(cuts)]
