"""Performs the core's effects on threads."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perdure.core.execution.branch import busy
from perdure.core.execution.call import after_first, at_once, perform, recall
from perdure.core.execution.call_end import Succeeded, first_success
from perdure.core.execution.effects import (
    Admit,
    ClearCrashes,
    Execute,
    Guarded,
    Load,
    MakeReady,
    Outcome,
    Report,
    Resolve,
    Save,
    SaveAttempt,
    Settle,
    Wait,
    WaitGivenUp,
)
from perdure.core.execution.run import unwinding
from perdure.core.execution.run_effects import (
    Asked,
    Begin,
    Body,
    End,
    Forget,
    Recall,
    RecallEnding,
    Reopen,
    StandBy,
    Start,
    Undoable,
    UndoableChild,
    Unended,
    Unwind,
)
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import SEQ
from perdure.engines.events import RunResumed, RunStarted, RunWaits, StepReplayed, notify_parked
from perdure.engines.local import notices, run_lifecycle
from perdure.engines.local.attempt import pauses
from perdure.engines.local.broken_off import broken_off, broken_off_at_end, broken_off_outside
from perdure.engines.local.function_body import FunctionBody
from perdure.engines.local.resources import Resources
from perdure.engines.local.scope import LocalScope
from perdure.engines.local.sync_attempts import SyncAttempts
from perdure.engines.local.transactions import Write, operation_of
from perdure.engines.runtime.thread_branches import hand_on
from perdure.engines.runtime.timeouts import Abandoned, on_main_thread
from perdure.errors import StateError, StopRun

if TYPE_CHECKING:
    from perdure.core.policies.guard import Hold, Pass
    from perdure.engines.local.driver_interface import Drivers, Program
    from perdure.engines.runtime.thread_branches import ThreadTask
    from perdure.engines.runtime.thread_turns import ThreadTurns


class SyncDriver:
    """Performs effects by blocking the thread that asks.

    Args:
        resources: the state file and what goes with it.
        drivers: carry the decisions of the runs that begin here.
    """

    def __init__(self, resources: Resources, drivers: Drivers[LocalScope]) -> None:
        self._resources = resources
        self._drivers = drivers
        self._waits = False
        attempts = SyncAttempts(resources)
        self.execute, self.loop = attempts.execute, attempts.loop
        self._perform: dict[type, Callable[[Any, Any], Any]] = {
            Load: self.load,
            Execute: self.execute,
            ClearCrashes: self._write,
            MakeReady: self._make_ready,
            Admit: self.admit,
            Guarded: self._guarded,
            Report: self.report,
            Save: self._save,
            SaveAttempt: self._write,
            Wait: self._wait,
            Settle: self._settle,
            WaitGivenUp: lambda effect, scope: None,  # there is but one branch, and it has not given up
            Begin: self._write,
            StandBy: self._stand_by,
            Recall: self.recall,
            Body: self._body,
            Unwind: self._unwind,
            Undoable: self._undoable,
            Reopen: self._write,
            Unended: self._unended,
            Asked: self._asked,
            RecallEnding: self._recall_ending,
            Forget: self._write,
            End: self._end,
            Resolve: self._write,
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
            if scope is not None and scope.deciding is not None:
                return self._drive_among_others(program, scope, answer)
            while True:
                effect = send(answer)
                answer = perform[type(effect)](effect, scope)
        except StopIteration as end:
            return end.value
        except (StateError, StopRun) as error:
            if scope is None:
                raise
            scope.stop_for(error)

    def look(self, effect: RecallEnding | Undoable | Unended | Asked, scope: Any) -> Any:
        """Answer what is only read, on the thread of the caller."""
        return self._perform[type(effect)](effect, scope)

    def learn_to_wait(self) -> None:
        """From now on it performs the effects of durable waits too."""
        if not self._waits:
            from perdure.engines.local.named_calls import performers
            from perdure.engines.local.parking import Parking

            self._waits = True
            self._perform |= Parking(self._resources).performers() | performers(self.drive, self._resources)

    def until(self, program: Program, kind: type) -> Program:
        """Carry a decision on this thread until it asks for an effect of that kind; what is left of it."""
        answer = None
        try:
            while not isinstance(effect := program.send(answer), kind):
                answer = self._perform[type(effect)](effect, None)
        except StopIteration as end:
            return _ended(end.value)
        return _rest(program, effect)

    def _drive_among_others(self, program: Program, scope: LocalScope, answer: Any) -> Any:
        """The same, one decision of the run at a time: what a decision only looks up belongs to it."""
        if scope.turns is not None:
            return self._drive_in_turn(program, scope, answer, scope.turns, scope.thread_here())
        perform = self._perform
        deciding = scope.deciding
        assert deciding is not None
        while True:
            with deciding:
                effect = program.send(answer)
                while isinstance(effect, Load):
                    effect = program.send(perform[type(effect)](effect, scope))
            if scope.closed and isinstance(effect, Wait):  # the attempt under way was the last one
                scope.refuse_if_over()
            answer = perform[type(effect)](effect, scope)

    def _drive_in_turn(
        self, program: Program, scope: LocalScope, answer: Any, turns: ThreadTurns, task: ThreadTask
    ) -> Any:
        """The same for a thread of a sync workflow: it notes the place of what the call comes to.

        While it executes or waits, the thread rests; while it saves, what comes later does not wait for it.
        """
        perform = self._perform
        deciding = scope.deciding
        assert deciding is not None
        rests = False
        try:
            while True:
                with deciding:
                    if rests:
                        task.blocked, rests = task.blocked - 1, False
                    effect = program.send(answer)
                    while isinstance(effect, Load):
                        if not effect.peek:
                            turns.place(task, effect.seq)
                        effect = program.send(perform[type(effect)](effect, scope))
                    row = effect.rows[-1] if isinstance(effect, Save) and effect.rows else getattr(effect, "row", None)
                    if row is not None:
                        turns.place(task, row[SEQ])
                    else:
                        task.blocked, rests = task.blocked + 1, True
                turns.look()
                if scope.closed and isinstance(effect, Wait):  # the attempt under way was the last one
                    scope.refuse_if_over()
                answer = perform[type(effect)](effect, scope)
        finally:
            if rests:
                with deciding:
                    task.blocked -= 1

    def step(self, call: Call, scope: LocalScope) -> Any:
        """A call that the workflow makes, of which no other branch has to know: the end of it.

        Most have no record, and succeed at their first attempt. They are made and saved here, without a decision.

        Raises:
            StopRun: the run cannot go on.
        """
        history = scope.history
        try:
            try:
                seq = history.claim(call)
                if seq is not None:
                    if self._resources.observer is None and not history.is_abandoned(seq):
                        return recall(call, history, scope.records.record(seq, inputs=call.named), call.spec.park)
                elif (not call.spec.explicit or on_main_thread()) and at_once(call, history):
                    outcome = self.execute(Execute(call, 1, call.spec.park), scope)
                    # Threads that have come to take part meanwhile decide too.
                    rows = first_success(call, history, outcome) if scope.deciding is None else None
                    if rows is None:
                        rest = after_first(call, history, outcome)
                        del outcome  # no variable keeps its error: the error's traceback leads here
                        return self.drive(rest, scope)
                    self._resources.store.journal.write(rows)
                    if call.spending is not None:
                        call.spending.saved()
                    return Succeeded(outcome.value, call.seq)
            except (StateError, StopRun) as error:
                scope.stop_for(error)
            return self.call(perform(call, history, seq), scope, call.spec)
        except KeyboardInterrupt as error:
            scope.step_left_by(call, error)
            raise

    def call(self, program: Program, scope: LocalScope, spec: Spec) -> Any:
        """Carry the call of a step to its end, on a thread from which its timeout can be kept."""
        if not spec.explicit or spec.isolate or on_main_thread():
            return self.drive(program, scope)
        from perdure.engines.local.handoff import Handoff

        # A thread of the user's own: only a pool thread can be left behind when time is over.
        finished = threading.Lock()
        finished.acquire()
        ends: list[tuple[Any, BaseException | None]] = []

        def on_end(end: Any, error: BaseException | None) -> None:
            ends.append((end, error))
            finished.release()

        pristine = hand_on(contextvars.copy_context())
        handoff = Handoff(program, scope, on_end, context=pristine)
        context = pristine.copy()
        self._resources.pool.spawn(lambda: context.run(handoff.run))
        finished.acquire()
        end, error = ends[0]
        if error is not None:
            raise error
        return end

    # -- steps --------------------------------------------------------------------------------------------------------

    def load(self, effect: Load, scope: LocalScope) -> Any:
        """Read a record."""
        if self._resources.observer is not None and effect.call is not None and not effect.peek:
            self._resources.observer.notify(StepReplayed(scope.id, scope.run.workflow, effect.call))
        call = effect.call
        return scope.records.record(effect.seq, inputs=effect.peek or call is None or call.named)

    def _make_ready(self, effect: MakeReady, scope: LocalScope) -> None:
        from perdure.engines.processes.template import make_ready

        make_ready(effect.spec)

    def admit(self, effect: Admit, scope: LocalScope) -> Pass | Hold:
        """May a call go to its service now?"""
        return self._resources.guards.admit(effect.guard, effect.turn)

    def _guarded(self, effect: Guarded, scope: LocalScope) -> Outcome:
        try:
            return self.execute(effect.execute, scope)
        except Abandoned:
            raise  # another thread has gone on with it, and will report
        except BaseException:
            self._resources.guards.give_back(effect.guard, effect.ticket)
            raise

    def report(self, effect: Report, scope: LocalScope) -> None:
        """Report to the callers of the same service how it went."""
        self._resources.guards.report(effect)

    def _save(self, effect: Save, scope: LocalScope) -> None:
        resources = self._resources
        plain = not effect.letters and not effect.drop and not effect.marks and effect.attempt is None
        if plain and not effect.enqueue and effect.aftermath is None:
            resources.store.journal.write(effect.rows)
            return
        saving = resources.letters.saving(effect, scope.run.path, resources.world.now())
        parking = resources.store.journal.write(effect.rows, saving)
        if effect.letters:
            resources.letters.parked(parking)
            notify_parked(resources.observer, scope.id, scope.run.workflow, effect, parking.parked)

    def _write(self, effect: Write, scope: Any) -> Any:
        return self._resources.store.journal.write((), operation_of(self._resources, effect))

    def _wait(self, effect: Wait, scope: LocalScope) -> None:
        from perdure.engines.local.waiting_calls import shown_waiting

        over = None if effect.noted else shown_waiting(self._resources, scope.id, effect)
        try:
            for seconds in pauses(self._resources, effect, scope):
                self._resources.world.sleep(seconds)
        finally:
            if over is not None:
                over()

    def _settle(self, effect: Settle, scope: LocalScope) -> tuple[Call, ...] | None:
        if scope.main is None:
            return ()  # a single branch has come to rest by asking
        if scope.keeps_loop():
            # The tasks of the loop cannot go on as long as this sync step keeps it. If they rest, all that they have
            # called before is claimed, since events come in the order in which they came.
            asking, order = scope.branch(), scope.order_here()
            if asking is not None and not busy(scope.main.living, [asking]):
                return ()
            return () if order is not None and order.others_rest() else None
        from perdure.engines.runtime.thread_rest import settle

        return settle(scope, effect.call)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def _stand_by(self, effect: StandBy, scope: Any) -> None:
        self.notify_standing_by(effect)
        self._resources.world.sleep(effect.seconds)

    def notify_standing_by(self, effect: StandBy) -> None:
        """Say, on standard error if there is no observer, that a run waits for another."""
        if not effect.first:
            return
        if self._resources.observer is not None:
            self._resources.observer.notify(RunWaits(effect.workflow, effect.reason))
        else:
            from perdure.config.script_identity import point_out
            from perdure.core.redaction.printable import one_line

            point_out(one_line(f"{effect.workflow} waits: {effect.reason}"))

    def recall(self, effect: Recall, scope: Any) -> Any:
        """Read what a run has done."""
        run = effect.run
        if effect.before:
            notices.ended_before(effect.before)
        try:
            if effect.resumed and run.parent is None:
                run_lifecycle.end_orphans(self._resources, effect)
            history = run_lifecycle.history_of(self._resources, run, resumed=effect.resumed)
            self._resources.letters.ready(run.path)
            if effect.spec is not None:
                self._resources.monitor.began(run, effect.spec)  # it may fail, or be undone, before its function begins
        except BaseException as error:
            broken_off_outside(self._resources, run, error)
            raise
        if self._resources.observer is not None:
            self._resources.observer.notify(
                RunResumed(run.id, run.workflow, sum(self._resources.store.counts(run.rid).values()))
                if effect.resumed
                else RunStarted(run.id, run.workflow)
            )
        notices.say_of_undoings(self._resources, effect.said)
        return history

    def _body(self, effect: Body, scope: LocalScope | None) -> Outcome:
        call = effect.call
        body = FunctionBody(self._resources, self._drivers, effect, scope)
        try:
            try:
                with body.scope.interrupt(SyncDriver._body.__code__):
                    value = call.spec.fn(*call.args, **call.kwargs)
                body.scope.unawaited.refuse()
            finally:
                body.close()
            return body.returned(value)
        except BaseException as error:
            outcome = body.left_by(error)
            if outcome is None:
                raise
            return outcome
        finally:
            body.leave()

    def _unwind(self, effect: Unwind, scope: Any) -> list[str]:
        notices.undoes(self._resources, effect)
        inner = LocalScope(self._resources, self._drivers, effect.run, effect.history)
        try:
            with self.loop:
                return self.drive(unwinding(effect, inner.find_step), inner)  # type: ignore[no-any-return]
        except BaseException as error:
            if not inner.forked:
                broken_off(self._resources, inner, error)
            raise

    def _undoable(self, effect: Undoable, scope: Any) -> tuple[UndoableChild, ...]:
        """The child runs that are done and have something to be undone."""
        if effect.run.forked_from is not None:
            notices.keeps(self._resources, effect)
        from perdure.engines.local import child_runs

        return child_runs.undoable(self._resources, effect)

    def _recall_ending(self, effect: RecallEnding, scope: Any) -> bytes:
        """What a process noted before it began to undo."""
        return self._resources.store.record(effect.run.rid, effect.seq).input

    def _unended(self, effect: Unended, scope: Any) -> list[tuple[Start, bytes | None]]:
        """The child runs that have something to be put away."""
        from perdure.engines.local import child_runs

        return child_runs.unended(self._resources, effect)

    def _asked(self, effect: Asked, scope: Any) -> bool:
        """Has the end of the run been asked for?"""
        return self._resources.store.stopping(effect.run.rid)

    def _end(self, effect: End, scope: Any) -> StateError | None:
        resources = self._resources
        try:
            parking = resources.store.journal.write(effect.rows, run_lifecycle.end_operation(resources, effect))
        except StateError as trouble:
            run_lifecycle.not_ended(resources, effect, trouble)
            return trouble
        except BaseException as error:
            broken_off_at_end(resources, effect, error)
            raise
        run_lifecycle.ended(resources, effect, parking)
        return None


def _ended(value: Any) -> Program:
    yield from ()
    return value


def _rest(program: Program, effect: Any) -> Program:
    while True:
        answer = yield effect
        try:
            effect = program.send(answer)
        except StopIteration as end:
            return end.value
