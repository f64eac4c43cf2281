"""Re-drives dead letters: several at a time, at a bounded rate, each claimed by one process at most."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Literal

import msgspec

from perdure.core.execution.call_end import Succeeded
from perdure.core.execution.history import History
from perdure.core.execution.redrive import Redriven, call_of, history_for, redrive, takes_back
from perdure.core.execution.run_refusals import with_way_out
from perdure.core.execution.spec import Spec
from perdure.core.records import RunRecord, StepRecord
from perdure.engines.local.engine import LocalEngine
from perdure.engines.local.handoff import Handoff
from perdure.engines.local.scope import LocalScope
from perdure.engines.runtime.own_loop import OwnLoop
from perdure.errors import NotDecodable, PerdureError, StateCorrupt, StateError, StopRun
from perdure.store import dead_letters
from perdure.store.dead_letters import Claim
from perdure.store.lineage import origin

Find = Callable[[RunRecord, StepRecord], Spec]
"""The step of a record, as the script has it now. May raise anything."""


class Result(msgspec.Struct, frozen=True):
    """How it went with a letter.

    "resolved" (`seen`: its run will see the result), "failed" (it is parked still; `error` is what the step raised), or
    "refused" (nothing was tried; `error` says why).
    """

    letter: int
    status: Literal["resolved", "failed", "refused"]
    error: Exception | None = None
    seen: bool = False


class Redriver:
    """Carries letters through their attempts.

    Args:
        engine: of the state file.
        find: finds the step of a record.
        report: called with the result of each letter, one at a time.
        concurrency: how many at a time.
        interval: seconds between the beginnings of two.
    """

    def __init__(
        self,
        engine: LocalEngine,
        find: Find,
        report: Callable[[Result], None],
        *,
        concurrency: int = 1,
        interval: float = 0.0,
    ) -> None:
        self._engine = engine
        self._find = find
        self._report = report
        self._concurrency = concurrency
        self._interval = interval
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._next_start = 0.0
        self._rest: Iterable[int] = iter(())
        self._undone: dict[int, dict[bytes, int]] = {}
        self._working = 0
        self._idle = threading.Event()
        self._error: BaseException | None = None
        self._loop = OwnLoop()

    def run(self, lids: Iterable[int]) -> None:
        """Re-drive these letters; a failure of one does not stop the others.

        Those of undoings come last, one by one, the newest first, as at an end: it may be of the same call, made again.

        Raises:
            StateError: the state file cannot be used.
        """
        lids = list(lids)
        undoings = dead_letters.undoings(self._engine.store).intersection(lids)
        with self._loop:
            self._carry([lid for lid in lids if lid not in undoings], self._concurrency)
            self._carry(sorted(undoings, reverse=True), 1)
        if self._error is not None:
            raise self._error

    def _carry(self, lids: list[int], concurrency: int) -> None:
        self._rest = iter(lids)
        if concurrency > 1 and lids:
            self._work_side_by_side()
        else:
            while (lid := self._draw()) is not None:
                self._alone(lid)

    # -- one letter after the other -----------------------------------------------------------------------------------

    def _draw(self) -> int | None:
        """The next letter, when its time has come."""
        with self._turn:
            if self._error is not None:
                return None
            lid = next(iter(self._rest), None)
            if lid is not None and self._interval:
                now = self._engine.world.clock()
                wait = self._next_start - now
                if wait > 0:
                    self._engine.world.sleep(wait)
                self._next_start = max(self._next_start, now) + self._interval
            return lid

    def _alone(self, lid: int) -> None:
        begun = self._begin(lid)
        if begun is None:
            return
        program, scope, spec = begun
        try:
            end = self._await(program, scope) if spec.is_async else scope.drive_step(program, spec)
        except BaseException as error:
            self._end(lid, None, error)
            if not isinstance(error, Exception | StopRun):
                raise
        else:
            self._end(lid, end, None)

    # -- several at a time --------------------------------------------------------------------------------------------

    def _work_side_by_side(self) -> None:
        self._working = self._concurrency
        for _ in range(self._concurrency):
            context = contextvars.copy_context()
            self._engine.resources.pool.spawn(lambda context=context: context.run(self._work))  # type: ignore[misc]
        while True:
            try:
                self._idle.wait()
                return
            except KeyboardInterrupt as error:
                if self._error is not None:
                    raise
                self._error = error

    def _work(self) -> None:
        """A pool thread's life: take a letter, carry it to its end, take the next."""
        try:
            while (lid := self._draw()) is not None:
                begun = self._begin(lid)
                if begun is None:
                    continue
                program, scope, spec = begun
                on_end = self._on_end(lid)
                if spec.is_async:
                    try:
                        on_end(self._await(program, scope), None)
                    except BaseException as error:  # noqa: BLE001  it is reported there
                        on_end(None, error)
                else:
                    pristine = contextvars.copy_context()
                    Handoff(program, scope, on_end, self._work, context=pristine).run()
        except BaseException as error:
            from perdure.engines.runtime.timeouts import Abandoned

            if isinstance(error, Abandoned):
                raise  # another thread has taken over, and is counted in this one's place
            if self._error is None:
                self._error = error
        with self._lock:
            self._working -= 1
            if self._working == 0:
                self._idle.set()

    def _on_end(self, lid: int) -> Callable[[Any, BaseException | None], None]:
        return lambda end, error: self._end(lid, end, error)

    # -- one letter ---------------------------------------------------------------------------------------------------

    def _begin(self, lid: int) -> tuple[Any, LocalScope, Spec] | None:
        """Claim a letter, and prepare what is to be done; None if that cannot be, which has been reported then."""
        engine, store = self._engine, self._engine.store
        try:
            letter = dead_letters.get(store, lid)
            run, record = store.run_by_number(letter.run), store.record(letter.run, letter.seq)
            spec = self._find(run, record)
            # What cannot be called is refused before it counts as an attempt to re-drive.
            undoable = self._call(record, spec, letter.input, lid).spec.undo is not None
            claim: Claim = store.journal.write(
                (), dead_letters.claim(store, lid, engine.world.now(), undoable=undoable)
            )
        except StateCorrupt as damage:  # of what is kept of this one: others are re-driven all the same
            self._tell(Result(lid, "refused", self._with_way_out(lid, damage)))
            return None
        except StateError:
            raise
        except Exception as refusal:  # noqa: BLE001  also what a script raises when it is loaded
            self._tell(Result(lid, "refused", refusal))
            return None
        try:
            call = self._call(claim.record, spec, claim.letter.input, lid)
            call.drop = takes_back(claim.record, store.all_records(claim.run.rid))
            history = history_for(
                claim.run, claim.record, claim.attempts, self._undone_in(claim.run), engine.world.uniform
            )
            # A letter that a fork has taken over keeps the idempotency key of the run that made the call.
            run = msgspec.structs.replace(claim.run, id=origin(store, claim.run, claim.record.seq).id)
            scope = LocalScope(engine.resources, engine.drivers, run, history)
            return redrive(lid, call, history), scope, call.spec
        except BaseException as error:
            self._release(lid)
            if not isinstance(error, StateCorrupt):
                raise
            self._tell(Result(lid, "refused", self._with_way_out(lid, error)))
            return None

    def _call(self, record: StepRecord, spec: Spec, edited: bytes | None, lid: int) -> Any:
        try:
            return call_of(record, spec, edited)
        except NotDecodable as misfit:
            misfit.hint += f"; or give the letter another input: perdure dlq edit {lid} --set NAME=JSON"
            raise
        except TypeError as misfit:
            raise NotDecodable(
                f"{spec.owner} does not take the recorded input any more: {misfit}",
                f"edit the letter to what it takes: perdure dlq edit {lid} --set NAME=JSON",
            ) from None

    def _undone_in(self, run: RunRecord) -> dict[bytes, int]:
        with self._lock:
            if run.rid not in self._undone:
                self._undone[run.rid] = History(run.rid, run.id, self._engine.store.index(run.rid)).undone
            return self._undone[run.rid]

    def _end(self, lid: int, end: Redriven | None, error: BaseException | None) -> None:
        if end is not None and isinstance(end.end, Succeeded):
            self._tell(Result(lid, "resolved", seen=end.seen))
            return
        self._release(lid, left=end is None and not isinstance(error, Exception | StopRun))
        if end is not None:
            self._tell(Result(lid, "failed", getattr(end.end, "error", None)))
            return
        cause = error.error if isinstance(error, StopRun) else error
        if isinstance(cause, StateError) or not isinstance(cause, Exception):
            if self._error is None:
                self._error = cause
        else:
            self._tell(Result(lid, "refused" if isinstance(cause, PerdureError) else "failed", cause))

    def _with_way_out(self, lid: int, damage: StateCorrupt) -> StateCorrupt:
        id = dead_letters.run_of(self._engine.store, lid)
        return damage if id is None else with_way_out(damage, id)

    def _release(self, lid: int, *, left: bool = False) -> None:
        store = self._engine.store
        with suppress(StateError):  # it is free at the latest when this process ends
            store.journal.write((), dead_letters.release(store, lid, self._engine.world.now(), left=left))

    def _tell(self, result: Result) -> None:
        with self._lock:
            self._report(result)

    def _await(self, program: Any, scope: LocalScope) -> Any:
        """Carry a decision about an async step on the one loop that all of them share."""
        return self._loop.run(lambda: self._engine.drivers.tasks.drive(program, scope))
