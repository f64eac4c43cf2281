"""The alerts that wait for one target: a folder of files, the oldest first, each tried again until it is delivered."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from perdure.alerts import atomic_files
from perdure.alerts.alert import Alert
from perdure.alerts.atomic_files import DAMAGED
from perdure.errors import AlertError

DROPPED: Final = "dropped"
UNREADABLE: Final = "unreadable"
"""Files that count what was dropped, and what was set aside, and not reported to the target yet."""
KEPT_DAMAGED: Final = 100
"""Damaged files that are kept to be looked at."""

FIRST_PAUSE: Final = 15.0
LONGEST_PAUSE: Final = 900.0
"""Seconds between two tries: the first doubles up to the longest."""
LONGEST_ASKED: Final = 3600.0
"""Seconds; a channel that asks for a longer pause is tried earlier."""

_NAME: Final = re.compile(r"([0-9]{20})-[A-Za-z0-9]*\.json", re.ASCII)
LATEST: Final = 253_402_300_799_000_000
"""Microseconds since the epoch, the end of the year 9999: a file with a larger number is none of ours."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that waits: how often it was tried and why that failed; times of this try and the next (epoch seconds).

    `refused`: the channel does not accept this one, so those behind it do not wait for it; else they do, and `behind`
    is the last of them at that time.
    """

    alert: Alert
    target: str
    tries: int = 0
    error: str = ""
    tried: float = 0.0
    next: float = 0.0
    refused: bool = False
    behind: str = ""

    def due(self, now: float) -> bool:
        """Is it to be tried now? A pause that reaches further than any is a clock that was set back."""
        return self.tries == 0 or not now < self.next <= now + LONGEST_ASKED


class RetryQueue:
    """The alerts that wait for one target.

    A file that cannot be read is set aside, counted, and reported to the target; it blocks no other.

    Args:
        folder: of its own; made when an alert is put into it.
        now: seconds since the epoch.
    """

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self.folder = folder
        self._now = now

    def names(self) -> list[str]:
        """The files, in the order in which the alerts were made.

        Raises:
            OSError: the folder cannot be read.
        """
        try:
            return sorted(name for name in os.listdir(self.folder) if _number(name) is not None)
        except FileNotFoundError:
            return []

    def put(self, alert: Alert, target: str, *, first: bool = False) -> None:
        """Keep an alert for the target of that name; it is on the disk when this returns. One at a time may put.

        Args:
            alert: nothing happens if it waits already.
            target: the target's name, to show.
            first: before all others.

        Raises:
            OSError: it cannot be written.
        """
        atomic_files.make_folder(self.folder)
        names = self.names()
        if self._name_of(alert.id, names):
            return
        last = (_number(names[-1]) or 0) if names else 0
        # After all that are there already, even if the clock went back; at the end of time the ids decide.
        number = 0 if first else min(max(int(self._now() * 1e6), last + 1), LATEST)
        path = self.folder / f"{number:020d}-{_plain(alert.id)}.json"
        atomic_files.write(path, msgspec.json.encode(Entry(alert=alert, target=target)))

    def shorten(self, most: int) -> None:
        """Drop the oldest beyond so many, and count them. One at a time may shorten."""
        extra = self.names()[:-most]
        if extra:
            self._count(DROPPED, len(extra))
            for name in extra:
                (self.folder / name).unlink(missing_ok=True)

    def dropped(self) -> int:
        """How many were dropped that are not reported yet."""
        return self._counted(DROPPED)

    def report_losses(self, target: str) -> None:
        """Queue an alert, before all others, of those that were dropped or could not be read. One at a time."""
        for kind, text in (
            (DROPPED, "dropped: too many waited for this target"),
            (UNREADABLE, f"lost: what waited for this target cannot be read\nset aside in {self.folder}"),
        ):
            count = self._counted(kind)
            if count:
                error = f"{count:,} older {'alert was' if count == 1 else 'alerts were'} {text}"
                self.put(Alert(what="message", level="warning", error=error), target, first=True)
                atomic_files.remove(self.folder / kind)

    def read(self, name: str) -> Entry | None:
        """The alert of that file; None if it is gone, or is none and is now set aside.

        Raises:
            OSError: it cannot be read now, and stays.
        """
        path = self.folder / name
        try:
            entry = msgspec.json.decode(atomic_files.read(path), type=Entry)
            entry.alert.text()
        except FileNotFoundError:
            return None
        except OSError as error:
            if not atomic_files.is_of_the_file(error):
                raise
        except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
            pass
        else:
            return entry
        self._set_aside(path)
        return None

    def failed(self, name: str, entry: Entry, error: AlertError) -> None:
        """Record that a try failed, and when the next one is due."""
        pause = min(FIRST_PAUSE * 2 ** min(entry.tries, 20), LONGEST_PAUSE)
        if error.retry_after is not None:
            pause = min(max(error.retry_after, 0.0), LONGEST_ASKED)
        now = self._now()
        changed = msgspec.structs.replace(
            entry,
            tries=entry.tries + 1,
            error=error.what,
            tried=now,
            next=now + pause,
            refused=error.refused,
            behind=max(self.names(), default=""),
        )
        atomic_files.write(self.folder / name, msgspec.json.encode(changed))

    def retry_soon(self, id: str) -> None:
        """The failure of that alert has happened again: if it still waits, try again 15 s after the last try."""
        names = self.names()
        if not id or not self._name_of(id, names):
            return
        for name in names:
            entry = self.read(name)
            if entry is None or entry.refused:
                continue
            soon = entry.tried + FIRST_PAUSE
            if entry.tries and soon < entry.next:
                atomic_files.write(self.folder / name, msgspec.json.encode(msgspec.structs.replace(entry, next=soon)))
            return  # the oldest: those behind wait for it

    def done(self, name: str) -> None:
        """It was delivered: no process sends it again once this has returned."""
        atomic_files.remove(self.folder / name)

    def has_work(self) -> bool:
        """Is there something to be tried now: something new, or what failed and has waited for long enough?

        What cannot be read now is tried: it is said then.
        """
        now = self._now()
        names = self.names()
        for name in names:
            try:
                entry = self.read(name)
            except OSError:
                return True
            if entry is not None and not entry.refused:
                return entry.due(now) or names[-1] > entry.behind
            if entry is not None and entry.due(now):
                return True
        return self._counted(DROPPED) + self._counted(UNREADABLE) > 0 or self._has_foreign()

    def damaged(self) -> int:
        """How many files are set aside."""
        try:
            return sum(name.endswith(DAMAGED) for name in os.listdir(self.folder))
        except OSError:
            return 0

    def tidy(self) -> None:
        """Remove what dead writers left behind and the oldest of what is set aside; set aside what is not ours."""
        spoiled = []
        for path in self.folder.iterdir():
            if path.name.endswith(DAMAGED):
                spoiled.append(path)
            elif path.name.endswith(".json") and _number(path.name) is None:
                self._set_aside(path)
            elif path.name.endswith(".new"):
                with suppress(OSError):
                    if path.lstat().st_mtime < time.time() - 3600:
                        path.unlink()
        for path in sorted(spoiled)[:-KEPT_DAMAGED]:
            with suppress(OSError):
                path.unlink()

    def _has_foreign(self) -> bool:
        with suppress(FileNotFoundError):
            return any(name.endswith(".json") and _number(name) is None for name in os.listdir(self.folder))
        return False

    def _name_of(self, id: str, names: list[str]) -> str:
        """The file of the alert of that id; empty if it does not wait."""
        ending = f"-{_plain(id)}.json"
        return next((name for name in names if name.endswith(ending)), "")

    def _set_aside(self, path: Path) -> None:
        with suppress(OSError):  # where nothing can be renamed it stays, and is passed by
            atomic_files.set_aside(path)
            self._count(UNREADABLE, 1)

    def _count(self, kind: str, more: int) -> None:
        atomic_files.write(self.folder / kind, str(self._counted(kind) + more).encode())

    def _counted(self, kind: str) -> int:
        try:
            return int(atomic_files.read(self.folder / kind)[:12])
        except (OSError, ValueError):
            return 0


def created(name: str) -> float:
    """When the alert in a file of that name was put there, in seconds since the epoch."""
    return (_number(name) or 0) / 1e6


def _number(name: str) -> int | None:
    """The number at the beginning of a file's name; None if it is no name of ours."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match and int(match[1]) <= LATEST else None


def _plain(id: str) -> str:
    return "".join(c for c in id[:40] if c.isascii() and c.isalnum())
