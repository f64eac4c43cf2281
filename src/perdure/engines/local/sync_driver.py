"""Performs the core's effects on threads."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from perdure.core.execution.cleanup import unwind
from perdure.core.execution.effects import (
    Acquit,
    Admit,
    Branch,
    Execute,
    Guarded,
    Load,
    Outcome,
    Report,
    Save,
    SaveAttempt,
    Settle,
    Wait,
)
from perdure.core.execution.redrive import Resolve
from perdure.core.execution.run import Begin, Body, End, Forget, Recall, StandBy, Unwind
from perdure.core.execution.spec import Call, Spec
from perdure.core.policies.guard import Hold, Pass
from perdure.core.redaction.printable import one_line
from perdure.engines.interface import StepContext, here
from perdure.engines.local.handoff import Carried
from perdure.engines.local.scope import LocalScope
from perdure.engines.observer import tell_parked, tell_wait
from perdure.engines.registry import find_step
from perdure.engines.runtime.threads import Pool, in_pool
from perdure.engines.runtime.timeouts import Abandoned, Ticket, interrupted_after, on_main_thread, timed_out
from perdure.engines.runtime.tracebacks import from_user_code
from perdure.errors import StateError, StopRun
from perdure.store import crashes
from perdure.store.dead_letters import resolve
from perdure.store.flight_recorder import Slot

if TYPE_CHECKING:
    from perdure.engines.local.engine import LocalEngine

Program = Generator[Any, Any, Any]


class SyncDriver:
    """Performs effects by blocking the thread that asks."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self.pool = Pool()
        self._perform: dict[type, Callable[[Any, Any], Any]] = {
            Load: self.load,
            Execute: self.execute,
            Acquit: self._acquit,
            Admit: self.admit,
            Guarded: self._guarded,
            Report: self.report,
            Save: self._save,
            SaveAttempt: self._save_attempt,
            Wait: self._wait,
            Settle: self._settle,
            Branch: self._branch,
            Begin: self._begin,
            StandBy: self._stand_by,
            Recall: self.recall,
            Body: self._body,
            Unwind: self._unwind,
            Forget: self._forget,
            End: self._end,
            Resolve: self._resolve,
        }

    def drive(self, program: Program, scope: LocalScope | None, answer: Any = None) -> Any:
        """Carry a decision to its end on this thread.

        Args:
            program: the core's generator.
            scope: the run that it belongs to; None for a run that is only being started.
            answer: the answer to the effect it waits for, if another thread began it.

        Raises:
            StopRun: the run cannot go on.
        """
        perform = self._perform
        send = program.send
        try:
            while True:
                effect = send(answer)
                answer = perform[type(effect)](effect, scope)
        except StopIteration as end:
            return end.value
        except StateError as error:
            if scope is None:
                raise
            raise scope.stop(StopRun(error)) from error
        except StopRun as stop:
            if scope is not None:
                scope.stop(stop)
            raise

    def call(self, program: Program, scope: LocalScope, spec: Spec) -> Any:
        """Carry the call of a step to its end, on a thread from which its timeout can be kept."""
        if not spec.explicit or spec.isolate or on_main_thread():
            return self.drive(program, scope)
        # A thread of the user's own: only a pool thread can be left behind when time is over.
        finished = threading.Lock()
        finished.acquire()
        ends: list[tuple[Any, BaseException | None]] = []

        def on_end(end: Any, error: BaseException | None) -> None:
            ends.append((end, error))
            finished.release()

        pristine = contextvars.copy_context()
        carried = Carried(self, program, scope, on_end, context=pristine)
        context = pristine.copy()
        self.pool.spawn(lambda: context.run(carried.run))
        finished.acquire()
        end, error = ends[0]
        if error is not None:
            raise error
        return end

    # -- steps --------------------------------------------------------------------------------------------------------

    def load(self, effect: Load, scope: LocalScope) -> Any:
        """Read a record."""
        if self._engine.observer is not None and effect.call is not None and not effect.peek:
            self._engine.observer.replayed(scope.id, effect.call)
        return scope.records.record(effect.seq)

    def execute(self, effect: Execute, scope: LocalScope, *, alone: bool = False) -> Outcome:
        """One attempt; `alone` if no other suspect runs beside it."""
        if effect.suspect and not alone:
            return self._alone(effect, scope)
        engine = self._engine
        if engine.world.clock() >= scope.limits.look_at:
            scope.look()
        call = effect.call
        observer = engine.observer
        if observer is not None:
            observer.began(scope.id, call, effect.attempt)
        now = engine.world.now
        token = here.set(StepContext(scope.id, call, effect.attempt, scope))
        started = now()
        error: Exception | None = None
        value = None
        recorder = engine.vigil.recorder
        slot = None
        if recorder is not None:
            slot = recorder.begin(scope.id, call.spec.name, call.key, call.n, effect.attempt, started)
        try:
            value = self._attempt(effect, scope, slot)
        except Exception as raised:  # noqa: BLE001  the step's own error, for the core to judge
            error = from_user_code(raised)
        except Abandoned:
            recorder = None  # whoever gave it up has said so
            raise
        finally:
            here.reset(token)
            if recorder is not None:
                recorder.end(slot, error is None)
        outcome = Outcome(value, error, started, now() - started)
        if observer is not None:
            observer.ended(scope.id, call, effect.attempt, outcome)
        if error is not None:
            scope.check_late(error)
        return outcome

    def _alone(self, effect: Execute, scope: LocalScope) -> Outcome:
        """One attempt of a call that crashes speak against."""
        scope.suspects.acquire()
        try:
            outcome = self.execute(effect, scope, alone=True)
        except Abandoned:
            raise  # whoever gave it up lets the next one in: this thread may be stuck for ever
        except BaseException:
            scope.suspects.release()
            raise
        scope.suspects.release()
        return outcome

    def _acquit(self, effect: Acquit, scope: LocalScope) -> None:
        self._engine.store.journal.write((), crashes.forget(effect.rid, effect.call))

    def _attempt(self, effect: Execute, scope: LocalScope, slot: Slot) -> Any:
        call, attempt = effect.call, effect.attempt
        spec = call.spec
        limits = scope.limits
        seconds = spec.timeout if limits.deadline is None else limits.bound(spec.timeout)
        if spec.isolate:
            from perdure.engines.runtime.isolated_step import run_isolated

            return run_isolated(call, scope.id, attempt, seconds)
        if seconds is None:
            return spec.fn(*call.args, **call.kwargs)
        if on_main_thread():
            return interrupted_after(seconds, spec.owner, spec.fn, call.args, call.kwargs)
        carried = in_pool.carried
        if carried is None:
            return spec.fn(*call.args, **call.kwargs)  # the default net cannot be held under a thread of the user's own
        return self._watched(effect, carried, seconds, slot)

    def _watched(self, effect: Execute, carried: Carried, seconds: float, slot: Slot) -> Any:
        call, scope = effect.call, carried.scope
        spec = call.spec
        started = self._engine.world.now()

        def on_expiry() -> None:
            context = carried.context.copy()
            late = timed_out(spec.owner, seconds)
            self._given_up(effect, scope, slot, Outcome(None, late, started, seconds))
            if (over := scope.limits.late(late)) is not None:
                stop = scope.stop(StopRun(over))
                self.pool.spawn(lambda: context.run(carried.give_up, stop))
            else:
                self.pool.spawn(lambda: context.run(carried.go_on, Outcome(None, late, started, seconds)))

        ticket = Ticket(seconds, on_expiry)
        self.pool.monitor.add(ticket)
        try:
            value = spec.fn(*call.args, **call.kwargs)
        except BaseException:
            self._settle_ticket(ticket)
            raise
        self._settle_ticket(ticket)
        return value

    def _given_up(self, effect: Execute, scope: LocalScope, slot: Slot, outcome: Outcome) -> None:
        """An attempt is over, although its thread does not know yet."""
        engine = self._engine
        if engine.vigil.recorder is not None:
            engine.vigil.recorder.end(slot, done=False)
        if engine.observer is not None:
            engine.observer.ended(scope.id, effect.call, effect.attempt, outcome)
        if effect.suspect:
            scope.suspects.release()

    def _settle_ticket(self, ticket: Ticket) -> None:
        self.pool.monitor.remove(ticket)
        if not ticket.claim():
            raise Abandoned

    def admit(self, effect: Admit, scope: LocalScope) -> Pass | Hold:
        """May a call go to its service now?"""
        return self._engine.guards.admit(effect.guard, effect.turn)

    def _guarded(self, effect: Guarded, scope: LocalScope) -> Outcome:
        try:
            return self.execute(effect.execute, scope)
        except Abandoned:
            raise  # another thread has gone on with it, and will report
        except BaseException:
            self._engine.guards.give_back(effect.guard, effect.ticket)
            raise

    def report(self, effect: Report, scope: LocalScope) -> None:
        """Tell those who call the same service how it went."""
        self._engine.guards.report(effect)

    def _save(self, effect: Save, scope: LocalScope) -> None:
        engine = self._engine
        saving = engine.letters.saving(effect, scope.run.path, engine.world.now())
        parking = engine.store.journal.write(effect.rows, saving)
        if effect.letters:
            engine.letters.parked(parking)
            tell_parked(engine.observer, scope.id, effect, parking.parked)

    def _resolve(self, effect: Resolve, scope: LocalScope) -> bool:
        store = self._engine.store
        seen: bool = store.journal.write((), resolve(store, effect, self._engine.world.now()))
        return seen

    def _save_attempt(self, effect: SaveAttempt, scope: LocalScope) -> None:
        store = self._engine.store
        store.journal.write((), store.attempt(effect.rid, effect.record))

    def _wait(self, effect: Wait, scope: LocalScope) -> None:
        tell_wait(self._engine.observer, scope.id, effect)
        world = self._engine.world
        until = world.clock() + effect.seconds
        while (left := until - world.clock()) > 0:
            scope.look()
            world.sleep(scope.limits.bound(min(left, world.slice)) or 0.0)
        scope.look()

    def _settle(self, effect: Settle, scope: LocalScope) -> tuple[Call, ...]:
        """There is but one branch: it has come to rest by asking."""
        return ()

    def _branch(self, effect: Branch, scope: LocalScope) -> Any:
        return scope.branch()

    # -- runs ---------------------------------------------------------------------------------------------------------

    def _begin(self, effect: Begin, scope: Any) -> Any:
        store = self._engine.store
        return store.journal.write((), store.begin(effect.start, self._engine.world.now()))

    def _stand_by(self, effect: StandBy, scope: Any) -> None:
        self.told(effect)
        self._engine.world.sleep(effect.seconds)

    def told(self, effect: StandBy) -> None:
        """Tell whoever watches, or else standard error, that a run has to wait for somebody."""
        if not effect.first:
            return
        if self._engine.observer is not None:
            self._engine.observer.standing_by(effect.workflow, effect.reason)
        else:
            print(f"perdure: {effect.workflow} waits: {one_line(effect.reason)}", file=sys.stderr, flush=True)

    def recall(self, effect: Recall, scope: Any) -> Any:
        """Read what a run has done."""
        history = self._engine.recall(effect.run, effect.resumed)
        self._engine.letters.ready(effect.run.path)
        if self._engine.observer is not None:
            run = effect.run
            self._engine.observer.run_began(run.id, run.workflow, history.recorded, effect.resumed)
        return history

    def _body(self, effect: Body, scope: LocalScope | None) -> Outcome:
        call, now = effect.call, self._engine.world.now
        inner = LocalScope(self._engine, effect.run, effect.history, call.spec, scope)
        self._engine.vigil.began(effect.run, call.spec)
        token = here.set(inner)
        started = now()
        try:
            with inner.alarm():
                value = call.spec.fn(*call.args, **call.kwargs)
            inner.check()
            return Outcome(value, None, started, now() - started)
        except Exception as error:  # noqa: BLE001  the workflow's own error, for the core to write down
            return Outcome(None, inner.ending or from_user_code(error), started, now() - started)
        except BaseException as stop:
            if inner.ending is not None:
                return Outcome(None, inner.ending, started, now() - started)
            self._engine.stopped(effect.run, inner.stopped or stop)
            if not inner.abandoned:
                self._engine.store.release(effect.run, now())  # it was stopped, not ended: it can be resumed
            inner.check()  # what stopped it first, should something else have come out
            raise
        finally:
            here.reset(token)

    def _unwind(self, effect: Unwind, scope: Any) -> list[str]:
        inner = LocalScope(self._engine, effect.run, effect.history, None, None)
        return self.drive(unwind(effect.history, find_step, ok=effect.ok), inner)  # type: ignore[no-any-return]

    def _forget(self, effect: Forget, scope: Any) -> None:
        store = self._engine.store
        store.journal.write((), store.forget(effect))

    def _end(self, effect: End, scope: Any) -> StateError | None:
        engine = self._engine
        try:
            parking = engine.store.journal.write(effect.rows, engine.ending(effect))
        except StateError as trouble:
            engine.not_ended(effect, trouble)
            return trouble
        engine.ended(effect, parking)
        return None
