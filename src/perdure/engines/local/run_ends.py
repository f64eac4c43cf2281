"""Waits for the ends of runs that another process executes, or another call of this one.

One thread waits for all of them, with a connection of its own that only reads: it looks at the runs when the bell is
rung for ends, and once a second, also at whether the processes that execute them are alive.
"""

from __future__ import annotations

import atexit
import os
import shlex
import threading
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from perdure.config.script_identity import point_out
from perdure.core.records import RunRecord
from perdure.store.bell import ENDS, Bell, Ear
from perdure.store.runs import Store

if TYPE_CHECKING:
    from concurrent.futures import Future

LOOK_SECONDS = 1.0
"""Seconds between two looks if nobody rings: a death changes nothing in the file, and rings no bell."""

LINGER_SECONDS = 1.0
"""Seconds for which the connection is kept after the last end, for who asks for many runs one after the other."""


class _Wait:
    __slots__ = ("future", "id", "or_left", "said")

    def __init__(self, id: str, or_left: bool) -> None:
        from concurrent.futures import Future  # here, since most scripts wait for no run of another process

        self.id = id
        self.or_left = or_left
        self.future: Future[RunRecord] = Future()
        self.said = False


class RunEnds:
    """The runs of one state file whose ends are waited for in this process.

    Args:
        path: the state file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._waits: list[_Wait] = []
        self._thread: threading.Thread | None = None
        self._bell: Bell | None = None
        self._ear: Ear | None = None

    def ending(self, id: str, *, or_left: bool = False) -> Future[RunRecord]:
        """Done when the run has ended, as it is then.

        Args:
            id: the run.
            or_left: done, too, as soon as no process executes it; its status is "running" then.

        The future raises:
            NotFound: there is no such run.
            StateError: the state file cannot be read.
        """
        wait = _Wait(id, or_left)
        with self._lock:
            self._waits.append(wait)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="perdure-run-ends", daemon=True)
                self._thread.start()
            elif self._ear is not None:
                self._ear.ring()
        return wait.future

    def _work(self) -> None:
        try:
            self._watch()
        except BaseException as error:  # noqa: BLE001  those that wait hear of it
            with self._lock:
                waits, self._waits = self._waits, []
                self._thread = self._bell = self._ear = None
            for wait in waits:
                wait.future.set_exception(error)

    def _watch(self) -> None:
        """Look, until nothing has been waited for in a while."""
        reading = closing(Store(self._path, read_only=True))
        with reading as store, Bell(self._path, every=LOOK_SECONDS, suffix=ENDS) as bell, bell.listen() as ear:
            with self._lock:
                self._bell, self._ear = bell, ear
            linger: float | None = None
            while True:
                now = monotonic()
                with self._lock:
                    waits = list(self._waits)
                    if waits:
                        linger = None
                    elif linger is None:
                        linger = now + LINGER_SECONDS
                    elif now >= linger:
                        self._thread = self._bell = self._ear = None
                        return
                for wait in waits:
                    self._look(store, wait)
                ear.wait(LOOK_SECONDS if linger is None else linger - now)

    def close_in_child(self) -> None:
        """After a fork: the thread that waits exists in the parent only."""
        if self._bell is not None:
            self._bell.close_in_child()

    def close(self) -> None:
        """The process ends: nobody needs to ring for it."""
        if self._bell is not None:
            self._bell.close()

    def _look(self, store: Store, wait: _Wait) -> None:
        from perdure.store.rows import ENDED

        try:
            run = store.newest(store.run(wait.id))
            left = run.status == "running" and store.holding(run) is None
        except Exception as error:  # noqa: BLE001  of this one: the others wait on
            self._settle(wait, error)
            return
        if run.status in ENDED or (wait.or_left and left):
            self._settle(wait, run)
        elif left and not wait.said:
            wait.said = True
            point_out(
                f"run {run.id} is waited for, and no process executes it; go on with it: "
                f"perdure resume {shlex.quote(run.id)}"
            )

    def _settle(self, wait: _Wait, outcome: RunRecord | BaseException) -> None:
        with self._lock:
            self._waits.remove(wait)
        if isinstance(outcome, RunRecord):
            wait.future.set_result(outcome)
        else:
            wait.future.set_exception(outcome)


_known: dict[Path, RunEnds] = {}
_mutex = threading.Lock()


def ends_at(path: Path) -> RunEnds:
    """The ends that this process waits for in that state file."""
    with _mutex:
        return _known.setdefault(path, RunEnds(path))


def _after_fork() -> None:
    global _mutex
    _mutex = threading.Lock()
    for ends in _known.values():
        ends.close_in_child()
    _known.clear()


def _at_exit() -> None:
    for ends in list(_known.values()):
        ends.close()


atexit.register(_at_exit)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
