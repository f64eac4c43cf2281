"""The engine of one machine."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.config import settings
from perdure.core.execution.call import Failed
from perdure.core.execution.history import History
from perdure.core.execution.run import End, Ended, Start, call_off, live
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import RunRecord, RunStatus
from perdure.core.redaction.printable import one_line
from perdure.engines.interface import Began
from perdure.engines.local.dead_letters import LetterBox
from perdure.engines.local.monitor import Vigil
from perdure.engines.local.sync_driver import SyncDriver
from perdure.engines.observer import Observer
from perdure.engines.runtime.clock import RealWorld, World
from perdure.errors import Skipped, StateError, StopRun
from perdure.store.crashes import crashes_of
from perdure.store.dead_letters import Parking
from perdure.store.journal import Operation
from perdure.store.runs import Store

if TYPE_CHECKING:
    from perdure.engines.guards import Guards
    from perdure.engines.local.async_driver import TaskDriver


class LocalEngine:
    """Runs workflows in this process.

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
        self.letters = LetterBox(self.store)
        self.observer: Observer | None = None
        self.vigil = Vigil(self.store, self.world.now)
        self.sync = SyncDriver(self)
        self._tasks: TaskDriver | None = None
        self._guards: Guards | None = None
        self._lock = threading.Lock()

    @property
    def guards(self) -> Guards:
        """What is known of the services that steps call; begun with the first guarded step."""
        with self._lock:
            if self._guards is None:
                from perdure.engines.guards import Guards

                self._guards = Guards(self.store.path, self.world)
                self._guards.lookout = self.vigil
            return self._guards

    @property
    def tasks(self) -> TaskDriver:
        """The driver of async code; asyncio is imported with it, so scripts without it do not pay for it."""
        if self._tasks is None:
            from perdure.engines.local.async_driver import TaskDriver

            self._tasks = TaskDriver(self)
        return self._tasks

    def run(
        self, call: Call, *, script: str, id: str | None = None, resume: str | None = None, began: Began | None = None
    ) -> Any:
        """Run a sync workflow to its end: start it, resume it, or return the result that its id already has.

        Args:
            call: the workflow's function and arguments.
            script: the path of the script that it is in.
            id: exactly one run under this id, ever.
            resume: the id of a run to go on with, whatever its inputs.
            began: told the id of the run as soon as it is taken.

        Raises:
            AlreadyRunning: somebody else has it.
            OtherInputs: the id stands for a run with other inputs.
            Drift: the script was edited so that a completed step would be called with other inputs.
            StateError: the state file cannot be used.
            Exception: whatever the workflow raises.
        """
        self.vigil.ready(call.spec)
        with self._outside(call.spec):
            return ended(self.sync.drive(live(call, self.start(call, script, id, resume), began), None))

    async def arun(
        self, call: Call, *, script: str, id: str | None = None, resume: str | None = None, began: Began | None = None
    ) -> Any:
        """Run an async workflow to its end, as `run` does."""
        self.vigil.ready(call.spec)
        with self._outside(call.spec):
            return ended(await self.tasks.drive(live(call, self.start(call, script, id, resume), began), None))

    @contextmanager
    def _outside(self, spec: Spec) -> Iterator[None]:
        """Where the caller of a workflow is: what stopped a run comes out of its wrapping here."""
        try:
            yield
        except StopRun as stop:
            raise stop.error from stop.error.__cause__
        except StateError as error:
            if error is not self.vigil.told:
                from perdure.alerts.unusable_state import tell_unusable

                tell_unusable(spec, error)
            raise
        except Skipped as skipped:
            # Where nobody looks on, nobody else will say so: an uncaught SystemExit ends a script without a word.
            if not getattr(self.observer, "shows", self.observer is not None):
                print(f"perdure: {one_line(skipped.what)}; skipped", file=sys.stderr)
            raise

    def start(
        self, call: Call, script: str, id: str | None = None, resume: str | None = None, parent: int | None = None
    ) -> Start:
        """What to look for in the state file, and what to write there if it is not found."""
        name = call.spec.name
        path = os.path.abspath(script) if script and not script.startswith("<") else script
        rid = self.store.run(resume).rid if resume is not None else None
        return Start(
            script=os.path.basename(script),
            path=path,
            workflow=name,
            key=call.key,
            input=call.input,
            fresh=f"{name}-{self.world.new_id()}",
            id=id,
            named=id is not None and parent is None,
            parent=parent,
            rid=rid,
            lock=call.spec.rules.lock,
        )

    def call_off(self, run: RunRecord) -> list[str] | None:
        """End a run for good that nobody executes, with its clean-ups; the script has been loaded, if there is one.

        Returns:
            What could not be cleaned up, a line each; None if somebody executes it after all, or it has ended.
        """
        start = Start(run.script, run.path, run.workflow, run.key, run.input, fresh="", rid=run.rid)
        # What failed has been cleaned up when it did.
        import asyncio

        missed: list[str] | None = asyncio.run(self.tasks.drive(call_off(start, clean=run.status == "running"), None))
        return missed

    def ending(self, effect: End) -> Operation:
        """The operation that writes down how a run has ended."""
        return self.store.end(effect, self.world.now(), self.letters.terms(effect.run.path))

    def ended(self, effect: End, parking: Parking | None) -> None:
        """That is written: let go of the run, and tell whoever wants to know."""
        self.store.let_go(effect.run)
        if parking is not None:
            self.letters.parked(parking)
        self.vigil.ended(effect)
        if self.observer is not None:
            self.observer.run_ended(effect.run.id, effect.run.workflow, effect.status)

    def not_ended(self, effect: End, trouble: StateError) -> None:
        """It could not be written."""
        self.store.let_go(effect.run)
        self.stopped(effect.run, trouble)

    def stopped(self, run: RunRecord, error: BaseException) -> None:
        """A run was broken off in its middle: tell whoever wants to know."""
        self.vigil.stopped(run, error)
        if self.observer is not None:
            self.observer.run_stopped(run.id, run.workflow, error.error if isinstance(error, StopRun) else error)

    def status(self, id: str) -> RunStatus:
        """How a run stands.

        Raises:
            NotFound: there is no such run.
        """
        return self.store.run(id).status

    def recall(self, run: RunRecord, resumed: bool) -> History:
        """What the run has done so far."""
        store, uniform = self.store, self.world.uniform
        if not resumed:
            return History(run.rid, run.id, epoch=run.epoch, uniform=uniform)
        return History(
            run.rid,
            run.id,
            store.index(run.rid),
            store.attempts(run.rid, run.epoch),
            exempt=store.exempted(run.rid),
            epoch=run.epoch,
            uniform=uniform,
            crashes=crashes_of(store, run.rid),
            crash_limit=settings.crash_limit(run.path),
        )

    def close(self) -> None:
        """Close the state file and let go of the lock."""
        self.vigil.close()
        if self._guards is not None:
            self._guards.close()
        self.store.close()


def ended(end: Ended | Failed) -> Any:
    """The workflow's result; raises what it raised."""
    if isinstance(end, Failed):
        raise end.error
    return end.value


_engines: dict[Path, LocalEngine] = {}
_lock = threading.Lock()


def engine_at(path: Path) -> LocalEngine:
    """The engine of this process for that state file; there is never more than one.

    Raises:
        StateError: the file cannot be used.
    """
    with _lock:
        engine = _engines.get(path)
        if engine is None:
            engine = _engines[path] = LocalEngine(path)
        return engine


def close_all() -> None:
    """Close every state file of this process."""
    while _engines:
        _engines.popitem()[1].close()


def _after_fork() -> None:
    # A SQLite connection must not cross a fork, and a copied descriptor would keep the lock of a dead parent alive.
    global _lock
    _lock = threading.Lock()
    for engine in _engines.values():
        engine.vigil.close_in_child()
        engine.store.holder.close_in_child()
        if engine._guards is not None:
            engine._guards.presence.forget()
        _orphans.append(engine)
    _engines.clear()


_orphans: list[LocalEngine] = []
"""Kept in a forked child, so that the parent's connections are not closed in it."""

atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
