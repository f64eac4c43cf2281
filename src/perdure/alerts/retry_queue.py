"""The alerts that wait for one target: a folder of files, oldest first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from perdure.alerts import atomic_files
from perdure.alerts.alert import Alert
from perdure.errors import AlertError

DAMAGED: Final = ".damaged"
DROPPED: Final = "dropped"
KEPT_DAMAGED: Final = 100
"""Damaged files that are kept to be looked at."""

FIRST_PAUSE: Final = 15.0
LONGEST_PAUSE: Final = 900.0
"""Seconds between two tries: the first doubles up to the longest."""
LONGEST_ASKED: Final = 3600.0
"""Seconds; a channel that asks for a longer pause is asked again earlier."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that waits: how often it was tried, why that failed, and when it is tried again (epoch seconds).

    `refused`: the channel would not have this one, so those behind it do not wait for it; else they do, and `behind`
    is the last of them at that time.
    """

    alert: Alert
    target: str
    tries: int = 0
    error: str = ""
    next: float = 0.0
    refused: bool = False
    behind: str = ""

    def due(self, now: float) -> bool:
        """Is it to be tried now? A pause that reaches further than any is a clock that was set back."""
        return self.tries == 0 or not now < self.next <= now + LONGEST_ASKED


class Queue:
    """The alerts that wait for one target.

    Args:
        folder: of its own; made when something is put into it.
        now: seconds since the epoch.
    """

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self.folder = folder
        self._now = now

    def names(self) -> list[str]:
        """The files, in the order in which the alerts were made."""
        try:
            return sorted(name for name in os.listdir(self.folder) if name.endswith(".json"))
        except FileNotFoundError:
            return []

    def put(self, alert: Alert, target: str, *, first: bool = False) -> None:
        """Keep an alert for the target of that name; it is on the disk when this returns. One at a time may put.

        Args:
            alert: nothing happens if it waits already.
            target: the target's name, to show.
            first: before all others.
        """
        names = self.names()
        if any(name.endswith(f"-{_file_name(alert)}.json") for name in names):
            return
        last = int(names[-1].split("-")[0]) if names and names[-1].split("-")[0].isdecimal() else 0
        # After all that are there already, whatever the clock did meanwhile.
        number = 0 if first else max(int(self._now() * 1e6), last + 1)
        atomic_files.make_folder(self.folder)
        path = self.folder / f"{number:020d}-{_file_name(alert)}.json"
        atomic_files.write(path, msgspec.json.encode(Entry(alert=alert, target=target)))

    def shorten(self, most: int) -> None:
        """Drop the oldest beyond so many, and count them. One at a time may shorten."""
        extra = self.names()[:-most]
        if extra:
            atomic_files.write(self.folder / DROPPED, str(self.dropped() + len(extra)).encode())
            for name in extra:
                (self.folder / name).unlink(missing_ok=True)

    def dropped(self) -> int:
        """How many were dropped that nobody was told about yet."""
        try:
            return int((self.folder / DROPPED).read_bytes()[:12])
        except (OSError, ValueError):
            return 0

    def tell_of_dropped(self, target: str) -> None:
        """If some were dropped, have that said first. One at a time may tell."""
        count = self.dropped()
        if count:
            error = f"{count:,} older alerts were dropped: too many waited for this target"
            self.put(Alert(what="message", level="warning", error=error), target, first=True)
            atomic_files.remove(self.folder / DROPPED)

    def read(self, name: str) -> Entry | None:
        """What waits there; None if it is gone, or was damaged and is now set aside."""
        path = self.folder / name
        try:
            entry = msgspec.json.decode(path.read_bytes(), type=Entry)
            entry.alert.text()
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, OSError, ValueError, OverflowError):
            self._set_aside(path)
            return None
        return entry

    def failed(self, name: str, entry: Entry, error: AlertError) -> None:
        """Note that a try failed, and when to try again."""
        pause = min(FIRST_PAUSE * 2 ** min(entry.tries, 20), LONGEST_PAUSE)
        if error.retry_after is not None:
            pause = min(max(error.retry_after, 0.0), LONGEST_ASKED)
        changed = Entry(
            alert=entry.alert,
            target=entry.target,
            tries=entry.tries + 1,
            error=error.what,
            next=self._now() + pause,
            refused=error.refused,
            behind=max(self.names(), default=""),
        )
        atomic_files.write(self.folder / name, msgspec.json.encode(changed))

    def done(self, name: str) -> None:
        """It was delivered: nobody sends it again once this has returned."""
        atomic_files.remove(self.folder / name)

    def has_work(self) -> bool:
        """Is there something to be tried now: something new, or what failed and has waited for long enough?"""
        now = self._now()
        names = self.names()
        for name in names:
            entry = self.read(name)
            if entry is not None and not entry.refused:
                return entry.due(now) or names[-1] > entry.behind
            if entry is not None and entry.due(now):
                return True
        return self.dropped() > 0

    def damaged(self) -> int:
        """How many files were set aside."""
        try:
            return sum(name.endswith(DAMAGED) for name in os.listdir(self.folder))
        except FileNotFoundError:
            return 0

    def tidy(self) -> None:
        """Take away what writers that died left behind, and the oldest of what was set aside."""
        spoiled = []
        for path in self.folder.iterdir():
            if path.name.endswith(DAMAGED):
                spoiled.append(path)
            elif path.name.endswith(".new") and path.stat().st_mtime < time.time() - 3600:
                path.unlink(missing_ok=True)
        for path in sorted(spoiled)[:-KEPT_DAMAGED]:
            path.unlink(missing_ok=True)

    def _set_aside(self, path: Path) -> None:
        os.replace(path, path.with_suffix(DAMAGED))
        atomic_files.sync_folder(self.folder)


def created(name: str) -> float:
    """When the alert in a file of that name was put there, in seconds since the epoch."""
    number = name.split("-")[0]
    return int(number) / 1e6 if number.isdecimal() else 0.0


def _file_name(alert: Alert) -> str:
    return "".join(c for c in alert.id[:40] if c.isascii() and c.isalnum())
