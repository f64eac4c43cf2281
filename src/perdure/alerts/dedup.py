"""Sends the same failure of the same workflow once, and counts its repetitions; a summary gives the count.

A window opens when an alert is queued, for the targets it is queued for. A target that is configured later has not had
the alert, so for this one it is no repetition.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from perdure.alerts import atomic_files
from perdure.alerts.alert import RECOVERED, Alert

WINDOW: Final = 900.0
"""Seconds in which one alert of a key is sent, and the others are counted."""
MOST: Final = 1_000
"""Windows that are open at a time; alerts of further keys are all sent."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A failure that was queued at `began` (epoch seconds), and happened `count` times since.

    `alert` is the latest of them, `first` the id of the one that was queued; `targets` are names by digest.
    """

    alert: Alert
    began: float
    count: int = 0
    targets: dict[str, str]
    first: str = ""


class Dedup:
    """The open windows, as files in a folder. One process at a time may use it.

    Args:
        folder: of its own.
        seconds: how long a window is.
        now: seconds since the epoch.
    """

    def __init__(self, folder: Path, seconds: float, now: Callable[[], float]) -> None:
        self._folder = folder
        self._seconds = seconds
        self._now = now

    def count(self, alert: Alert, targets: Iterable[str]) -> dict[str, str]:
        """Count an alert in the open windows of its key.

        Args:
            alert: the alert.
            targets: digests of those it is for.

        Returns:
            The targets for which it is a repetition, each with the id of the alert that was queued for it.

        Raises:
            OSError: a count cannot be written.
        """
        found: dict[str, str] = {}
        if alert.what == RECOVERED:
            return found
        for path, window in self._windows(lambda name: name.startswith(alert.digest)):
            covered = window.targets.keys() & targets
            if covered:
                found |= dict.fromkeys(covered, window.first)
                if window.alert.id != alert.id:  # else it is put again, by a process that died over it
                    self._write(path, msgspec.structs.replace(window, alert=alert, count=window.count + 1))
        return found

    def open(self, alert: Alert, targets: Mapping[str, str]) -> None:
        """An alert is queued for these targets: a window begins.

        Raises:
            OSError: it cannot be written.
        """
        if alert.what != RECOVERED and len(self._names()) < MOST:
            window = Window(alert=alert, began=self._now(), targets=dict(targets), first=alert.id)
            self._write(self._path(window), window)

    def close(self, alert: Alert) -> Alert:
        """Close the windows of the failures that an alert reports the recovery from; it gets their counts."""
        count, since = 0, 0.0
        for path, window in self._windows():
            if alert.closes(window.alert):
                count += window.count
                since = min(since or window.began, window.began)
                atomic_files.remove(path)
        return msgspec.structs.replace(alert, repeated=count, since=since) if count else alert

    def summaries(self) -> Iterator[tuple[Alert, dict[str, str]]]:
        """The summary of each window that has ended, and its targets; one that was taken is not given again.

        A summary begins a new window, so that a failure that goes on is sent once a window.
        """
        now = self._now()
        for path, window in self._windows(lambda name: not 0 <= now - _began(name) < self._seconds):
            if window.count:
                id = hashlib.blake2b(f"{window.alert.id} {window.began}".encode(), digest_size=12).hexdigest()
                summary = msgspec.structs.replace(window.alert, id=id, repeated=window.count, since=window.began)
                yield summary, window.targets
                following = msgspec.structs.replace(window, began=now, count=0, first=id)
                self._write(self._path(following), following)
            atomic_files.remove(path)

    def waiting(self) -> int:
        """How many alerts are counted for a summary."""
        return sum(window.count for _, window in self._windows())

    def _windows(self, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[tuple[Path, Window]]:
        for name in self._names():
            # By their names, so that an alert takes no longer the more windows are open.
            window = self._read(self._folder / name) if wanted(name) else None
            if window is not None:
                yield self._folder / name, window

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._folder) if name.endswith(".json"))
        except OSError:
            return []

    def _read(self, path: Path) -> Window | None:
        try:
            window = msgspec.json.decode(atomic_files.read(path), type=Window)
            window.alert.text()
        except FileNotFoundError:
            return None
        except OSError as error:
            if not atomic_files.is_of_the_file(error):
                return None  # it may be read the next time
        except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
            pass
        else:
            return window
        with suppress(OSError):
            path.unlink()  # only a count: the worst is an alert too many
        return None

    def _path(self, window: Window) -> Path:
        # The same key may have a window for other targets at the same moment.
        targets = hashlib.blake2b("".join(sorted(window.targets)).encode(), digest_size=4).hexdigest()
        return self._folder / f"{window.alert.digest}-{targets}-{int(window.began * 1000):016d}.json"

    def _write(self, path: Path, window: Window) -> None:
        atomic_files.make_folder(self._folder)
        atomic_files.write(path, msgspec.json.encode(window))


def _began(name: str) -> float:
    number = name.removesuffix(".json").split("-")[-1]
    return int(number) / 1000 if number.isdecimal() and len(number) < 18 else 0.0
