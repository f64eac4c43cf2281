"""The spool: alerts wait here, on disk, until they are delivered.

The protocol: an alert becomes a file in the queue of each target, fsynced before the first try to deliver it. Who
delivers holds the lock of the target's queue, sends the oldest first, and removes the file, fsynced, as soon as the
channel has accepted the alert. So nothing is lost, nothing is sent by two processes at once, and a target that fails
holds up no other. One window remains, as in every protocol between two machines: if the process dies (or the answer is
lost) after the channel accepted and before the file is gone, a few milliseconds, the alert is sent once more. A webhook
can see that by the header `Idempotency-Key`, or the field `id`.

No address is kept here, since addresses hold credentials: a target is known by a digest, and its address by the
settings at the time of delivery.

What is damaged in the folder is set aside and reported, and blocks nothing else: only a whole disk that cannot be
written raises.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Final

import msgspec

from perdure.alerts import atomic_files, open_incidents
from perdure.alerts.alert import Alert
from perdure.alerts.channels.base import Target
from perdure.alerts.channels.send_timeout import SECONDS
from perdure.alerts.dedup import WINDOW, Dedup
from perdure.alerts.retry_queue import Entry, RetryQueue, created
from perdure.config import ownership
from perdure.config.steady_clock import steady
from perdure.errors import AlertError

SUFFIX: Final = "-alerts"
"""How the name of its folder ends, behind that of the state file."""
MOST: Final = 1_000
"""Alerts that may wait for one target; beyond it the oldest are dropped, which is reported to it."""
KEPT: Final = 7 * 86_400.0
"""Seconds that alerts are kept for a target that is not among the settings any more."""
PATIENCE: Final = 2 * SECONDS
"""Seconds to wait for another process that delivers to the same target, or is putting something in."""
BUDGET: Final = 30.0
"""Seconds after which no further delivery is begun, so that a large backlog holds up no process."""

_QUEUE: Final = re.compile(r"[0-9a-f]{24}")
"""The name of a queue's folder: the digest of its target."""

_logger = logging.getLogger("perdure")


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
    """What is in a spool: what waits, how many are counted for the next summary, were dropped, or are set aside."""

    alerts: list[Waiting]
    counted: int
    dropped: int
    damaged: int


class Spool:
    """Alerts that wait to be delivered. Processes and threads may share one.

    Args:
        folder: where; made when the first alert is put there.
        now: seconds since the epoch.
        most: how many may wait for one target.
    """

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time, most: int = MOST) -> None:
        self.folder = folder
        self._now = now
        self._most = most
        self._dedup = Dedup(folder / "windows", WINDOW, now)

    def put(self, alert: Alert, targets: Sequence[Target]) -> bool:
        """Keep an alert until it is delivered to each of the targets; on the disk when this returns.

        For a target that has had the same failure in the open window it is counted instead; for one that was not
        configured then it is not.

        Returns:
            Whether it waits for a target; else it is counted for all of them.

        Raises:
            OSError: it cannot be kept for any target.
        """
        names = {target.digest: target.name for target in targets if target.ready}
        if not self.folder.is_dir():
            _refuse_beside_other(self.folder)
        atomic_files.make_folder(self.folder)
        repeated: dict[str, str] = {}
        # Better two at once than an alert that is not kept: so the lock is waited for, and then done without.
        with atomic_files.locked(self.folder / "lock", PATIENCE):
            with _tolerated("the open incidents"):
                open_incidents.record(self.folder, alert)
            with _tolerated("the counts of repeated alerts"):
                self._queue_summaries()
                repeated = self._dedup.count(alert, names)
            for digest, id in repeated.items():
                with _tolerated(f"the alerts that wait for {names[digest]}"):
                    self._queue_of(digest).retry_soon(id)
            news = {digest: name for digest, name in names.items() if digest not in repeated}
            if repeated and not news:
                return False
            with _tolerated("the counts of repeated alerts"):
                alert = self._dedup.close(alert)
            lost = self._queue(alert, news)
            if lost and len(lost) == len(news):
                raise next(iter(lost.values()))
            kept = {digest: name for digest, name in news.items() if digest not in lost}
            if kept:
                with _tolerated("the counts of repeated alerts"):
                    self._dedup.open(alert, kept)  # after it is queued: a death between may send twice, not never
        for target in targets:
            if target.digest in lost:
                self._send_unkept(alert, target, lost[target.digest])
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
            What was tried and failed, and waits on; and the queues that cannot be used.

        Raises:
            OSError: the spool cannot be read.
        """
        if not self.folder.is_dir():
            return []
        with atomic_files.locked(self.folder / "lock", PATIENCE), _tolerated("the counts of repeated alerts"):
            self._queue_summaries()
        found: list[Failure] = []
        work: list[tuple[Target, RetryQueue]] = []
        for digest, queue in self._queues():
            target = targets.get(digest)
            try:
                if target is None:
                    found += self._expire(queue)
                elif queue.has_work() or (all and queue.names()):
                    work.append((target, queue))
            except OSError as error:
                found.append(_unusable(queue, target.name if target else "a target that is not configured", error))
        until = steady() + budget

        def drain(target: Target, queue: RetryQueue) -> None:
            try:
                self._drain(target, queue, all, until, found)
            except OSError as error:
                found.append(_unusable(queue, target.name, error))

        _at_once([partial(drain, target, queue) for target, queue in work])
        return found

    def failing(self, targets: Mapping[str, Target]) -> list[Failure]:
        """The targets to which an alert could not be delivered yet, and why.

        Args:
            targets: those that are configured now, by digest.

        Raises:
            OSError: the spool cannot be read.
        """
        found = []
        for digest, queue in self._queues():
            for name in queue.names()[:1] if digest in targets else ():
                entry = queue.read(name)  # the others wait for the first
                if entry is not None and entry.tries:
                    found.append(Failure(entry.target, entry.error))
        return found

    def pending(self, targets: Mapping[str, Target]) -> Pending:
        """What waits, the oldest first.

        Args:
            targets: those that are configured now, by digest.

        Raises:
            OSError: the spool cannot be read.
        """
        waiting: list[tuple[str, Waiting]] = []
        damaged = self._damaged()
        dropped = 0
        for digest, queue in self._queues():
            for name in queue.names():
                entry = queue.read(name)
                if entry is not None:
                    waiting.append((name, _shown(name, entry, digest in targets)))
            dropped += queue.dropped()
            damaged += queue.damaged()
        return Pending([each for _, each in sorted(waiting, key=_first)], self._dedup.waiting(), dropped, damaged)

    def _damaged(self) -> int:
        """How many files are set aside that belong to no queue, a file in the place of the spool included."""
        if not self.folder.is_dir():
            return int(self.folder.exists())
        return sum(path.name.endswith(atomic_files.DAMAGED) for path in self.folder.iterdir())

    def _queue_of(self, digest: str) -> RetryQueue:
        return RetryQueue(self.folder / digest, self._now)

    def _queues(self) -> list[tuple[str, RetryQueue]]:
        if not self.folder.is_dir():
            return []
        names = sorted(path.name for path in self.folder.iterdir() if _QUEUE.fullmatch(path.name) and path.is_dir())
        return [(name, self._queue_of(name)) for name in names]

    def _queue(self, alert: Alert, targets: Mapping[str, str]) -> dict[str, OSError]:
        """Put an alert into the queues of these targets; those for which it could not be written, with the reason."""
        lost: dict[str, OSError] = {}
        for digest, name in targets.items():
            queue = self._queue_of(digest)
            try:
                queue.put(alert, name)
            except OSError as error:
                lost[digest] = error
                continue
            with _tolerated(f"the alerts that wait for {name}"):
                queue.shorten(self._most)
        return lost

    def _send_unkept(self, alert: Alert, target: Target, reason: OSError) -> None:
        """To one target of several: at once, and if that fails it is kept after all, if it can be by now."""
        _logger.warning("an alert for %s cannot be kept until it is delivered: %s", target.name, reason)
        try:
            target.send(alert)
        except AlertError as error:
            kept = False
            with suppress(OSError), atomic_files.locked(self.folder / "lock", PATIENCE):
                kept = not self._queue(alert, {target.digest: target.name})
            later = "; it waits and is tried again" if kept else ""
            _logger.warning("alert not delivered to %s: %s%s", target.name, error.what, later)

    def _queue_summaries(self) -> None:
        for alert, targets in self._dedup.summaries():
            self._queue(alert, targets)

    def _expire(self, queue: RetryQueue) -> list[Failure]:
        old = [name for name in queue.names() if created(name) < self._now() - KEPT]
        entries = [queue.read(name) for name in old]
        for name in old:
            queue.done(name)
        return [
            Failure(entry.target, f"not configured for {KEPT / 86_400:g} days; dropped: {entry.alert.title()}")
            for entry in entries
            if entry is not None
        ]

    def _drain(self, target: Target, queue: RetryQueue, all: bool, until: float, found: list[Failure]) -> None:
        with atomic_files.locked(queue.folder / "lock", PATIENCE, needless=lambda: not queue.names()) as ours:
            if not ours:
                return  # the process that holds it sends them
            queue.tidy()
            self._report_losses(target, queue)
            seen: set[str] = set()
            # Looked at anew each time: what another process has put meanwhile is sent too.
            while steady() < until and (rest := [name for name in queue.names() if name not in seen]):
                seen.add(rest[0])
                try:
                    entry = queue.read(rest[0])
                except OSError as error:  # it stays; those behind do not wait for it
                    found.append(_unusable(queue, target.name, error))
                    continue
                if entry is None:
                    self._report_losses(target, queue)
                    continue
                if entry.refused and not all and not entry.due(self._now()):
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

    def _report_losses(self, target: Target, queue: RetryQueue) -> None:
        with (
            _tolerated(f"the alerts that wait for {target.name}"),
            atomic_files.locked(self.folder / "lock", PATIENCE),
        ):
            queue.report_losses(target.name)


def _refuse_beside_other(folder: Path) -> None:
    """See that no spool is made beside the state file of another user, who could not use it, nor put alerts there.

    Raises:
        PermissionError: it would be.
    """
    state = folder.with_name(folder.name.removesuffix(SUFFIX))
    for path in (state, *([folder.parent] if folder.parent.name == ownership.HOME else [])):
        with suppress(FileNotFoundError):
            if other := ownership.stranger(os.stat(path)):
                raise PermissionError(errno.EPERM, f"it belongs to {other}", str(path))


@contextmanager
def _tolerated(what: str) -> Iterator[None]:
    """An error with one part of the spool is logged, and the alert goes its way."""
    try:
        yield
    except OSError as error:
        _logger.warning("%s cannot be read or written: %s", what, error)


def _unusable(queue: RetryQueue, target: str, error: OSError) -> Failure:
    reason = error.strerror or type(error).__name__
    return Failure(target, f"the alerts that wait for it cannot be read: {reason}", f"look at {queue.folder}")


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
