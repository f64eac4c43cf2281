"""What the runs of one state file share in this process."""

from __future__ import annotations

import shlex
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.config import settings
from perdure.engines.events import Observer
from perdure.engines.local.dead_letters import DeadLetterBox
from perdure.engines.local.run_monitor import RunMonitor
from perdure.engines.runtime.clock import RealWorld, World
from perdure.engines.runtime.spare_descriptors import SpareFiles
from perdure.engines.runtime.threads import Pool
from perdure.errors import PerdureError
from perdure.store.runs import Store

if TYPE_CHECKING:
    from perdure.engines.guards import Guards
    from perdure.store.attempt_logs import LogFile
    from perdure.store.bell import Bell


class Resources:
    """The state file and what goes with it. Decides nothing, and knows neither runs nor drivers.

    Args:
        path: the state file; made if missing.
        world: time, randomness and ids.
        vfs: a registered SQLite VFS, for tests that inject faults.

    Raises:
        StateError: the file cannot be used.
    """

    def __init__(self, path: Path, *, world: World | None = None, vfs: str | None = None) -> None:
        self.world: World = world or RealWorld()
        self.store = Store(path, vfs=vfs)
        self.letters = DeadLetterBox(self.store)
        self.observer: Observer | None = None
        self.monitor = RunMonitor(self.store, self.world.now)
        self.pool = Pool()
        self.suspend_after: float | None = None  # seconds that a due wait is waited for here; None: as the settings say
        self.starts_again = True  # a run that failed, and was undone by this process for one that had died, goes on
        self.said: dict[tuple[object, ...], float] = {}  # what was said on standard error, and when
        self.raised: set[int] = set()  # runs of which a budget allows more than the script says
        self.letting_go: set[int] = set()  # runs that are let go as soon as no thread works on them
        self.gives_back = False  # a worker: a run that an error of perdure's stops stays its own until it is given back
        self.leaving = False  # this process ends: its runs are given back at their next safe point
        self.keeps_logs = settings.logs()
        self.spare = SpareFiles()
        self._log_file: LogFile | None = None
        self._guards: Guards | None = None
        self._bell: Bell | None = None
        self._lock = threading.Lock()

    @property
    def is_shown(self) -> bool:
        """Does an observer show a person what happens, or is this a worker, so that it need not be printed?"""
        return self.gives_back or bool(getattr(self.observer, "shows", self.observer is not None))

    @property
    def guards(self) -> Guards:
        """What is known of the services that steps call; made at the first guarded step."""
        with self._lock:
            if self._guards is None:
                from perdure.engines.guards import Guards

                self._guards = Guards(self.store.path, self.world)
                self._guards.lookout = self.monitor
            return self._guards

    @property
    def log_file(self) -> LogFile | None:
        """Where the lines go that steps log and print; None if they are not kept."""
        if not self.keeps_logs:
            return None
        with self._lock:
            if self._log_file is None:
                from perdure.store.attempt_logs import LogFile

                self._log_file = LogFile(self.store.path, self.store.holder.token)
            return self._log_file

    @property
    def bell(self) -> Bell:
        """What wakes the threads and tasks of this process that wait for something in the state file."""
        with self._lock:
            if self._bell is None:
                from perdure.store.bell import Bell

                self._bell = Bell(self.store.path)
            return self._bell

    @property
    def option(self) -> str:
        """What a command needs here to find the state file; empty if it does so without."""
        path = self.store.path
        try:
            found = settings.state_path("") == path
        except (OSError, ValueError, PerdureError):  # the folder is gone, or its settings are not valid
            found = False
        return "" if found else f" --state {shlex.quote(str(path))}"

    def close(self) -> None:
        """Close the files and let go of the locks."""
        self.monitor.close()
        if self._log_file is not None:
            self._log_file.close()
        if self._bell is not None:
            self._bell.close()
        if self._guards is not None:
            self._guards.close()
        self.store.close()
        self.spare.close()

    def close_in_child(self) -> None:
        """After a fork: what the parent has open is not the child's."""
        self.spare.close_in_child()
        self.store.journal.close_in_child()
        self.store.spend_file.close_in_child()
        self.keeps_logs = False
        self.monitor.close_in_child()
        self.store.holder.close_in_child()
        if self._bell is not None:
            self._bell.close_in_child()
        if self._guards is not None:
            self._guards.presence.forget()
