"""Alerts wait here, on disk, until they are delivered.

The protocol: an alert is put into a file for each target and fsynced before anybody tries to deliver it; whoever
delivers holds the target's lock, sends the oldest first, and takes the file away, fsynced, as soon as the channel has
accepted it. So nothing is lost, nothing is sent by two at once, and what one target refuses to take holds up no other.
One window remains, as in every protocol between two machines: if the process dies (or the answer is lost) after the
channel accepted and before the file is gone, a few milliseconds, the alert is sent once more. A webhook can tell by
the `Idempotency-Key` header, or the field `id`.

No address is kept here, since addresses hold credentials: a target is known by a digest, and its address by the
settings at the time of delivery.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Final

import msgspec

from perdure.alerts import atomic_files, open_incidents
from perdure.alerts.alert import Alert
from perdure.alerts.channels.base import Target
from perdure.alerts.channels.send_timeout import SECONDS
from perdure.alerts.dedup import Flood
from perdure.alerts.retry_queue import Entry, Queue, created
from perdure.errors import AlertError

WINDOW: Final = 900.0
"""Seconds in which alerts of one key are told once and counted."""
MOST: Final = 1_000
"""Alerts that may wait for one target; beyond it the oldest are dropped, which is told."""
APART: Final = ("windows", open_incidents.FOLDER)
"""Folders of the spool that are no queues."""
KEPT: Final = 7 * 86_400.0
"""Seconds that alerts are kept for a target that is not among the settings any more."""
PATIENCE: Final = 2 * SECONDS
"""Seconds to wait for another process that delivers to the same target, or is putting something in."""
BUDGET: Final = 30.0
"""Seconds after which no further delivery is begun, so that a large backlog holds nobody up."""


class Failure(msgspec.Struct, frozen=True):
    """A target that an alert did not reach: which, why, and what to do about it."""

    target: str
    what: str
    hint: str = ""


class Waiting(msgspec.Struct, frozen=True):
    """An alert that waits; `created` and `next` in seconds since the epoch."""

    target: str
    configured: bool
    created: float
    title: str
    tries: int
    error: str
    next: float


class Pending(msgspec.Struct, frozen=True):
    """What is in a spool: what waits, how many are counted for the next summary, were dropped, or were damaged."""

    alerts: list[Waiting]
    counted: int
    dropped: int
    damaged: int


class Spool:
    """Alerts that wait to be delivered. Processes and threads may share one.

    Args:
        folder: where; made when the first alert is put there.
        now: seconds since the epoch.
        window: seconds in which alerts of one key are told once and counted.
        most: how many may wait for one target.
    """

    def __init__(
        self, folder: Path, *, now: Callable[[], float] = time.time, window: float = WINDOW, most: int = MOST
    ) -> None:
        self.folder = folder
        self._now = now
        self._most = most
        self._flood = Flood(folder / "windows", window, now)

    def put(self, alert: Alert, targets: Sequence[Target]) -> bool:
        """Keep an alert until it is delivered to each of the targets; on the disk when this returns.

        Returns:
            Whether it is on its way; else it is counted, since the same was told a moment ago.

        Raises:
            OSError: the disk would not have it.
        """
        whom = {target.digest: target.name for target in targets if target.ready}
        atomic_files.make_folder(self.folder)
        # Better two at once than an alert that is not kept: so the lock is waited for, and then done without.
        with atomic_files.locked(self.folder / "lock", PATIENCE):
            open_incidents.record(self.folder, alert)
            self._tell_counts()
            if self._flood.counted(alert):
                return False
            alert = self._flood.taken_back(alert)
            self._queue(alert, whom)
            self._flood.told(alert, whom)  # after it is queued: a death between may tell twice, not never
        return True

    def deliver(self, targets: Mapping[str, Target], *, all: bool = False, budget: float = BUDGET) -> list[Failure]:
        """Send what waits, to each target the oldest first, to all targets at the same time.

        A target that failed is left alone for a while (15 s, doubling up to 15 minutes, or as long as it asked),
        unless something new waits for it.

        Args:
            targets: those that are configured now, by digest.
            all: try also those that failed a moment ago.
            budget: seconds after which no further delivery is begun.

        Returns:
            What was tried and failed, and waits on.

        Raises:
            OSError: the spool cannot be read.
        """
        if not self.folder.is_dir():
            return []
        with atomic_files.locked(self.folder / "lock", PATIENCE):
            self._tell_counts()
        found: list[Failure] = []
        work: list[tuple[Target, Queue]] = []
        for digest, queue in self._queues():
            target = targets.get(digest)
            if target is None:
                found += self._expire(queue)
            elif queue.has_work() or (all and queue.names()):
                work.append((target, queue))
        until = time.monotonic() + budget

        def drain(target: Target, queue: Queue) -> None:
            found.extend(self._drain(target, queue, all, until))

        _at_once([partial(drain, target, queue) for target, queue in work])
        return found

    def pending(self, targets: Mapping[str, Target]) -> Pending:
        """What waits, the oldest first.

        Args:
            targets: those that are configured now, by digest.

        Raises:
            OSError: the spool cannot be read.
        """
        waiting: list[tuple[str, Waiting]] = []
        dropped = damaged = 0
        for digest, queue in self._queues():
            for name in queue.names():
                entry = queue.read(name)
                if entry is not None:
                    waiting.append((name, _shown(name, entry, digest in targets)))
            dropped += queue.dropped()
            damaged += queue.damaged()
        return Pending([each for _, each in sorted(waiting, key=_first)], self._flood.waiting(), dropped, damaged)

    def _queues(self) -> list[tuple[str, Queue]]:
        if not self.folder.is_dir():
            return []
        folders = [path for path in sorted(self.folder.iterdir()) if path.is_dir() and path.name not in APART]
        return [(path.name, Queue(path, self._now)) for path in folders]

    def _queue(self, alert: Alert, targets: Mapping[str, str]) -> None:
        for digest, name in targets.items():
            queue = Queue(self.folder / digest, self._now)
            queue.put(alert, name)
            queue.shorten(self._most)

    def _tell_counts(self) -> None:
        for alert, targets in self._flood.ended():
            self._queue(alert, targets)

    def _expire(self, queue: Queue) -> list[Failure]:
        old = [name for name in queue.names() if created(name) < self._now() - KEPT]
        entries = [queue.read(name) for name in old]
        for name in old:
            queue.done(name)
        return [
            Failure(entry.target, f"not configured for {KEPT / 86_400:g} days; dropped: {entry.alert.title()}")
            for entry in entries
            if entry is not None
        ]

    def _drain(self, target: Target, queue: Queue, all: bool, until: float) -> list[Failure]:
        found: list[Failure] = []
        with atomic_files.locked(queue.folder / "lock", PATIENCE, needless=lambda: not queue.names()) as ours:
            if not ours:
                return found  # whoever holds it sends them
            queue.tidy()
            with atomic_files.locked(self.folder / "lock", PATIENCE):
                queue.tell_of_dropped(target.name)
            seen: set[str] = set()
            # Looked at anew each time: what another process has put meanwhile is sent too.
            while time.monotonic() < until and (rest := [name for name in queue.names() if name not in seen]):
                seen.add(rest[0])
                entry = queue.read(rest[0])
                if entry is None or (entry.refused and not all and not entry.due(self._now())):
                    continue
                try:
                    target.send(entry.alert)
                except AlertError as error:
                    found.append(Failure(target.name, error.what, error.hint))
                    queue.failed(rest[0], entry, error)
                    if not error.refused:
                        break  # the channel is down: those behind keep their place
                else:
                    queue.done(rest[0])
        return found


def _first(each: tuple[str, Waiting]) -> str:
    return each[0]


def _shown(name: str, entry: Entry, configured: bool) -> Waiting:
    return Waiting(entry.target, configured, created(name), entry.alert.title(), entry.tries, entry.error, entry.next)


def _at_once(work: Sequence[Callable[[], None]]) -> None:
    """Do all of it, each in a thread of its own."""
    raised: list[Exception] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except Exception as error:  # noqa: BLE001  handed to the caller when all are done
            raised.append(error)

    threads: list[Thread] = []
    for one in work[1:]:
        thread = Thread(target=guarded, args=(one,), name="perdure alerts", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down and starts no threads
            guarded(one)
        else:
            threads.append(thread)
    for one in work[:1]:
        guarded(one)
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
