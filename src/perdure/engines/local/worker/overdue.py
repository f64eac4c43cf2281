"""Alerts that a run waits, and nobody sees to it: one that was due long ago, or has waited for long."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from time import time

from perdure.alerts import atomic_files, sender, worker_alerts
from perdure.alerts.alert import Alert
from perdure.alerts.recipients import addresses
from perdure.config.os_errors import remove
from perdure.config.ownership import make_file
from perdure.config.steady_clock import steady
from perdure.engines.local.worker.messages import Broken
from perdure.errors import OptionError
from perdure.store import claims
from perdure.store.runs import Store

EVERY = 60.0
"""Seconds between two looks."""

OVERDUE = 3600.0
"""Seconds that a run may have been due."""


class Lookout:
    """Looks through the runs that wait, now and then; each is alerted once.

    Args:
        state: the state file.
        say: called with a line for people.
    """

    def __init__(self, state: Path, say: Callable[[str], None]) -> None:
        self._state = state
        self._say = say
        self._at = 0.0

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
        late = {f"overdue-{run.rid}-{run.wake}": run for run in claims.overdue(store, now - OVERDUE)}
        for name in self._news(late):
            run = late[name]
            self._say(f"run {run.id} was due over an hour ago, and nothing goes on with it")
            self._send(worker_alerts.overdue(run, now - (run.wake or now), self._option), (), run.path)
        return True

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

        try:
            recipients = target_address.parse(named or addresses(None, script))
        except OptionError as error:
            self._say(f"no alert can be sent: {error.what}")
            return
        if recipients:  # a channel may keep it waiting for long
            folder = sender.folder_of(self._state)
            threading.Thread(target=sender.send, args=(alert, recipients, folder), daemon=True).start()
