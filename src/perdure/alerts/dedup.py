"""The same failure of the same workflow is told once, then counted; the count is told when the window ends."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from perdure.alerts import atomic_files
from perdure.alerts.alert import RECOVERED, Alert

MOST: Final = 1_000
"""Windows that are open at a time; alerts of further keys are not counted but told."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A failure that was told at `began`, and happened `count` times since; `targets` are names by digest."""

    alert: Alert
    began: float
    count: int = 0
    targets: dict[str, str]


class Flood:
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

    def counted(self, alert: Alert) -> bool:
        """Was the same told in the open window? Then it is counted, and not to be told."""
        names = [name for name in self._names() if name.startswith(alert.digest)]
        window = self._read(self._folder / names[-1]) if names else None
        if window is None or alert.what == RECOVERED:
            return False
        if window.alert.id != alert.id:  # not the same one put again by somebody who died over it
            self._write(msgspec.structs.replace(window, alert=alert, count=window.count + 1))
        return True

    def told(self, alert: Alert, targets: Mapping[str, str]) -> None:
        """An alert is on its way: a window begins."""
        if alert.what != RECOVERED and len(self._names()) < MOST:
            self._write(Window(alert=alert, began=self._now(), targets=dict(targets)))

    def taken_back(self, alert: Alert) -> Alert:
        """An alert that says the opposite of others closes their windows, and tells their counts."""
        count, since = 0, 0.0
        for path, window in self._windows():
            if alert.closes(window.alert):
                count += window.count
                since = min(since or window.began, window.began)
                atomic_files.remove(path)
        return msgspec.structs.replace(alert, repeated=count, since=since) if count else alert

    def ended(self) -> Iterator[tuple[Alert, dict[str, str]]]:
        """The summaries of the windows that have ended, and whom to tell; one that is asked for is not told again.

        A summary begins a new window, so that a failure that goes on is told once a window.
        """
        now = self._now()
        for path, window in self._windows(lambda began: not 0 <= now - began < self._seconds):
            if window.count:
                id = hashlib.blake2b(f"{window.alert.id} {window.began}".encode(), digest_size=12).hexdigest()
                summary = msgspec.structs.replace(window.alert, id=id, repeated=window.count, since=window.began)
                yield summary, window.targets
                self._write(msgspec.structs.replace(window, began=now, count=0))
            atomic_files.remove(path)

    def waiting(self) -> int:
        """How many alerts are counted and not told yet."""
        return sum(window.count for _, window in self._windows())

    def _windows(self, wanted: Callable[[float], bool] = lambda _: True) -> Iterator[tuple[Path, Window]]:
        for name in self._names():
            # Names tell the beginnings, so that an alert is not the slower the more windows are open.
            window = self._read(self._folder / name) if wanted(_began(name)) else None
            if window is not None:
                yield self._folder / name, window

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._folder) if name.endswith(".json"))
        except FileNotFoundError:
            return []

    def _read(self, path: Path) -> Window | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Window)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, ValueError, OSError):
            path.unlink(missing_ok=True)  # only a count: the worst is an alert too many
            return None

    def _write(self, window: Window) -> None:
        atomic_files.make_folder(self._folder)
        name = f"{window.alert.digest}-{int(window.began * 1000):016d}.json"
        atomic_files.write(self._folder / name, msgspec.json.encode(window))


def _began(name: str) -> float:
    number = name.removesuffix(".json").split("-")[-1]
    return int(number) / 1000 if number.isdecimal() else 0.0
