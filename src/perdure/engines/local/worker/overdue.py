"""Alerts that runs wait unseen: due long ago, waiting for long, in a queue or of a schedule that no worker serves.

A worker looks each minute, and a script when it begins, if another has not just done so. Each is alerted once: a file
beside the spool says that it was, as long as that is so.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from time import time

from perdure.alerts import atomic_files, sender, worker_alerts
from perdure.alerts.alert import Alert
from perdure.alerts.recipients import addresses
from perdure.config.os_errors import remove
from perdure.config.ownership import make_file
from perdure.config.settings import stuck_after
from perdure.config.steady_clock import steady
from perdure.engines.local.worker.messages import Broken
from perdure.errors import OptionError
from perdure.store import claims, queue_listing, schedules, waits
from perdure.store.runs import Store

EVERY = 60.0
"""Seconds between two looks."""

MARK = "looked"
"""The file in the folder of the spool whose time stamp says when was last looked."""

OVERDUE = 3600.0
"""Seconds that a run may have been due."""


UNSERVED = 300.0
"""Seconds for which no worker may serve what waits in a queue, or a schedule."""

Send = Callable[[Alert, tuple[str, ...]], None]


class Lookout:
    """Looks through the runs that wait, now and then; each is alerted once.

    Args:
        state: the state file.
        say: called with a line for people.
        send: sends an alert to these addresses; None: on a thread, from here.
        mine: the identity of a script that goes on with its own runs now.
        script: the path of one whose settings hold.
        expects_workers: what no worker serves is alerted too.
    """

    def __init__(
        self,
        state: Path,
        say: Callable[[str], None],
        *,
        send: Send | None = None,
        mine: str | None = None,
        script: str = "",
        expects_workers: bool = True,
    ) -> None:
        self._state = state
        self._say = say
        self._send_to = send
        self._mine = mine
        self._expects_workers = expects_workers
        self._script = script
        self._at = 0.0

    def look_once(self, store: Store) -> None:
        """Alert what waits, unless another process has just done so.

        Raises:
            StateError: the state file cannot be read.
            OSError: that it was looked cannot be noted.
        """
        folder = sender.folder_of(self._state)
        mark = folder / MARK
        with suppress(OSError):
            if 0 <= time() - os.stat(mark).st_mtime < EVERY:
                return
        self.look(store)
        if not folder.is_dir():  # nothing was alerted yet: it leaves no trace
            return
        if not mark.exists():
            with suppress(FileExistsError):
                os.close(make_file(mark, os.O_EXCL | os.O_WRONLY))
        os.utime(mark)

    def look(self, store: Store) -> bool:
        """Alert what waits, if it is time to look.

        Raises:
            StateError: the state file cannot be read.
        """
        clock = steady()
        if clock < self._at:
            return True
        self._at = clock + EVERY
        now = time()
        found = dict(self._found(store, now))
        for name in self._news(found):
            alert, path = found[name]
            self._say(f"{alert.workflow}{f', run {alert.run}' if alert.run else ''}: {alert.error}")
            self._send(alert, (), path)
        return True

    def _found(self, store: Store, now: float) -> Iterator[tuple[str, tuple[Alert, str]]]:
        """What waits unseen: a name for a file that is the same each time, the alert, and the path of the script."""
        option = self._option
        for run in claims.overdue(store, now - OVERDUE):
            if run.script != self._mine:
                alert = worker_alerts.overdue(run, now - (run.wake or now), option)
                yield f"overdue-{run.rid}-{run.wake}", (alert, run.path)
        for one in waits.stuck(store, now - stuck_after(self._script)):
            alert = worker_alerts.waits_long(one.root, one.what, now - one.began, option)
            yield f"stuck-{one.root.rid}-{_digest(one.what, str(one.began))}", (alert, one.root.path)
        if not self._expects_workers:
            return
        for line in queue_listing.unserved(store, now - UNSERVED):
            about = (line.queue, line.workflow, line.path, line.runs, now - line.since)
            yield (
                f"unserved-{_digest(line.queue, line.script, line.workflow)}",
                (worker_alerts.unserved_queue(*about, option), line.path),
            )
        for name in schedules.unserved(store, now - UNSERVED):
            about_it = schedules.one(store, name)
            late = now - (about_it.due or now)
            alert = worker_alerts.unserved_schedule(name, about_it.workflow, about_it.path, late, option)
            yield f"schedule-{_digest(name)}", (alert, about_it.path)

    def alert_broken(self, broken: Broken, known: tuple[str, ...], *, serves: bool) -> None:
        """A script cannot be loaded.

        Args:
            broken: which.
            known: the addresses that its workflows have named.
            serves: its runs go on with the code of before.
        """
        self._send(worker_alerts.broken(broken.path, broken.why, serves=serves), known, broken.path)

    @property
    def _option(self) -> str:
        return f" --state {shlex.quote(str(self._state))}"

    def _news(self, names: Collection[str]) -> list[str]:
        """Those that no process has alerted yet; from now on they count as alerted, as long as they are named."""
        folder = sender.folder_of(self._state) / "unseen"
        try:
            known = set(os.listdir(folder)) if folder.is_dir() else set()
            for gone in known.difference(names):
                remove(folder / gone)
            new = []
            for name in sorted(set(names) - known):
                atomic_files.make_folder(folder)
                with suppress(FileExistsError):  # another process was first
                    os.close(make_file(folder / name, os.O_EXCL | os.O_WRONLY))
                    new.append(name)
            return new
        except OSError as error:
            self._say(f"what was alerted cannot be noted: {error}")
            return []

    def _send(self, alert: Alert, named: tuple[str, ...], script: str) -> None:
        from perdure.alerts.channels import target_address

        if self._send_to is not None:
            found = named or addresses(None, script)
            if found:
                self._send_to(alert, found)
            return
        try:
            recipients = target_address.parse(named or addresses(None, script))
        except OptionError as error:
            self._say(f"no alert can be sent: {error.what}")
            return
        if recipients:  # a channel may keep it waiting for long
            folder = sender.folder_of(self._state)
            threading.Thread(target=sender.send, args=(alert, recipients, folder), daemon=True).start()


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
