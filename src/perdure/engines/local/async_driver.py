"""Performs the core's effects on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from perdure.core.execution.call import after_first, at_once, perform
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
    Answer,
    Asked,
    Begin,
    Body,
    End,
    Forget,
    Recall,
    RecallEnding,
    Reopen,
    StandBy,
    Taken,
    Undoable,
    Unended,
    Unwind,
)
from perdure.core.execution.spec import Call
from perdure.core.records import SEQ, Row
from perdure.engines.events import notify_parked
from perdure.engines.local import notices, run_lifecycle
from perdure.engines.local.attempt import pauses
from perdure.engines.local.broken_off import broken_off, broken_off_at_end
from perdure.engines.local.driver_interface import Drivers, Program
from perdure.engines.local.function_body import FunctionBody
from perdure.engines.local.loop_writes import LoopWrites, Then, WritesOfLoops
from perdure.engines.local.resources import Resources
from perdure.engines.local.scope import LocalScope
from perdure.engines.local.sync_driver import SyncDriver
from perdure.engines.local.task_attempts import TaskAttempts
from perdure.engines.local.transactions import operation_of
from perdure.engines.local.waiting_calls import shown_waiting
from perdure.engines.runtime.branches import call_in_branch, cancel_branches, in_branch, to_thread_apart, unwatched
from perdure.engines.runtime.error_bodies import keep_bodies_in_loop
from perdure.engines.runtime.event_order import EventOrder
from perdure.engines.runtime.quiescence import settle, until_given_up
from perdure.engines.runtime.timeouts import bounded
from perdure.engines.runtime.workflow_timers import own_timers
from perdure.errors import StateError, StopRun
from perdure.store.group_commit import Operation


class AsyncDriver:
    """Performs effects by awaiting.

    Args:
        resources: the state file and what goes with it.
        drivers: carry the decisions of the runs that begin here.
        sync: performs what needs no waiting.
    """

    def __init__(self, resources: Resources, drivers: Drivers[LocalScope], sync: SyncDriver) -> None:
        self._resources = resources
        self._drivers = drivers
        self._sync = sync
        self._commits = WritesOfLoops(resources.store.journal)
        self._more: dict[type, Callable[[Any, Any], Awaitable[Any]]] = {}
        self.begin = TaskAttempts(resources, sync).begin

    def call(self, program: Program, scope: LocalScope, call: Call) -> Awaitable[Any]:
        """A call that the workflow makes: its value, or what it raises."""
        return call_in_branch(scope, program, call)

    def step(self, call: Call, scope: LocalScope) -> Awaitable[Any]:
        """A call of a step by one thread alone: its value, or what it raises. Most succeed at once, undecided."""
        return in_branch(scope, call, partial(self._begin_step, call, scope))

    def _begin_step(self, call: Call, scope: LocalScope) -> Awaitable[Any]:
        history = scope.history
        seq = history.claim(call)
        if seq is not None or not at_once(call, history):
            return self.drive(perform(call, history, seq), scope, in_branch=True)
        first = self.begin(Execute(call, 1, call.spec.park), scope)
        return self._keep(call, scope, first) if type(first) is Outcome else self._go_on(call, scope, first)  # type: ignore[arg-type]

    async def _go_on(self, call: Call, scope: LocalScope, first: Awaitable[Outcome]) -> Any:
        return await self._keep(call, scope, await first)

    def _keep(self, call: Call, scope: LocalScope, first: Outcome) -> Awaitable[Any]:
        """Save the success of a first attempt, or judge its failure: the end of the call."""
        history = scope.history
        # Threads that have come to take part meanwhile decide too.
        rows = first_success(call, history, first) if scope.deciding is None else None
        if rows is None:
            return self.drive(after_first(call, history, first), scope, in_branch=True)
        end, order = Succeeded(first.value, call.seq), scope.order_here()
        if (order is None or order.alone()) and call.spending is None:
            return self._commit_of(scope).write(rows, None, end)
        return self._saved(call, scope, Save(rows), end)

    async def _saved(self, call: Call, scope: LocalScope, save: Save, end: Succeeded) -> Succeeded:
        await self._save(save, scope, True)
        if call.spending is not None:
            call.spending.saved()
        return end

    def keep_soon(self, rows: Sequence[Row], then: Then, scope: LocalScope) -> None:
        """Save rows, to which more may be added until the turn of the loop ends; `then` is told how that went."""
        self._commit_of(scope).write_then(rows, then)

    async def drive(self, program: Program, scope: LocalScope | None, *, in_branch: bool = False) -> Any:
        """Carry a decision to its end in the current task, which is known to be a branch (`in_branch`), or may be.

        Raises:
            StopRun: the run cannot go on.
        """
        send = program.send
        answer: Any = None
        try:
            while True:
                if scope is None or scope.deciding is None:
                    effect = send(answer)
                else:
                    with scope.deciding:  # threads decide too: one decision at a time
                        effect = send(answer)
                        while type(effect) is Load and effect.peek:
                            effect = send(self._sync.load(effect, scope))
                kind = type(effect)
                if kind is Execute:
                    answer = self.begin(effect, scope)
                    if type(answer) is not Outcome:
                        answer = await answer
                elif kind is Save:
                    answer = None
                    await self._save(effect, scope, in_branch)
                elif kind is Load:
                    order = None if scope is None or effect.peek else scope.order_here()
                    if order is not None:
                        seq = effect.seq
                        if not order.may_pass(seq) and (in_branch or scope.branch() is not None):  # type: ignore[union-attr]
                            task = asyncio.current_task()
                            try:
                                await order.queue_up(seq, task)
                            finally:
                                order.step_up(seq, task)
                    answer = self._sync.load(effect, scope)  # type: ignore[arg-type]
                else:
                    answer = await self._perform(effect, scope)
        except StopIteration as end:
            return end.value
        except (StateError, StopRun) as error:
            if scope is None:
                raise
            scope.stop_for(error)

    async def _perform(self, effect: Any, scope: Any) -> Any:
        resources = self._resources
        match effect:
            case Begin():
                return await self._begin_run(effect)
            case ClearCrashes() | Forget() | Reopen() | Resolve() | SaveAttempt():
                return await self._commits.here().write((), operation_of(resources, effect))
            case Wait():
                return await self._wait(effect, scope)
            case MakeReady():
                return await self._make_ready(effect, scope)
            case Admit():
                return self._sync.admit(effect, scope)
            case Guarded():
                return await self._guarded(effect, scope)
            case Report():
                return self._sync.report(effect, scope)
            case Settle():
                return await self._settle(effect, scope)
            case WaitGivenUp():
                return await until_given_up(scope)
            case StandBy():
                self._sync.notify_standing_by(effect)
                with own_timers():
                    return await resources.world.asleep(effect.seconds)
            case Recall():
                return self._sync.recall(effect, scope)
            case Body():
                return await self._body(effect, scope)
            case Unwind():
                notices.undoes(resources, effect)
                inner = LocalScope(resources, self._drivers, effect.run, effect.history)
                try:
                    return await self.drive(unwinding(effect, inner.find_step), inner)
                except BaseException as error:
                    if not inner.forked:
                        broken_off(resources, inner, error)
                    raise
            case RecallEnding() | Undoable() | Unended() | Asked():
                return self._sync.look(effect, scope)
            case End():
                return await self._end(effect)
        return await self._more[type(effect)](effect, scope)

    async def _begin_run(self, effect: Begin) -> Answer:
        """Take a run. If the task is cancelled meanwhile, nobody executes it: it is let go as soon as it is taken."""
        taken = self._commits.here().write((), operation_of(self._resources, effect))
        try:
            return await asyncio.shield(taken)
        except asyncio.CancelledError:
            taken.add_done_callback(self._let_go)
            raise

    def _let_go(self, taken: asyncio.Future[Answer]) -> None:
        if not taken.cancelled() and taken.exception() is None and isinstance(answer := taken.result(), Taken):
            self._resources.store.let_go(answer.run)

    def learn_to_wait(self) -> None:
        """From now on it performs the effects of durable waits too."""
        if not self._more:
            from perdure.engines.local.named_calls import in_tasks
            from perdure.engines.local.parked_tasks import TaskParking

            self._more = TaskParking(self._resources, self._commits.here).performers()
            self._more |= in_tasks(self.drive, self._resources)

    def _save(self, effect: Save, scope: Any, in_branch: bool) -> Awaitable[Any]:
        commit = self._commit_of(scope)
        order: EventOrder | None = scope.order_here()
        operation: Operation | None = None
        more = effect.drop or effect.marks or effect.attempt is not None or effect.enqueue or effect.aftermath
        if not effect.letters and more:
            operation = self._saving(effect, scope)
        if order is None or effect.beforehand or order.alone() or not (in_branch or scope.branch() is not None):
            return self._save_more(effect, scope, commit) if effect.letters else commit.write(effect.rows, operation)
        if not effect.letters:
            future, on_durable = order.expect(effect.rows[-1][SEQ])
            commit.write_then(effect.rows, on_durable, operation)
            return future
        with unwatched():
            return order.after(effect.rows[-1][SEQ], asyncio.create_task(self._save_more(effect, scope, commit)))

    def _commit_of(self, scope: Any) -> LoopWrites:
        commit: LoopWrites | None = scope.commit
        if commit is None or commit.loop is not asyncio.get_running_loop():
            commit = scope.commit = self._commits.here()
        return commit

    def _saving(self, effect: Save, scope: Any) -> Operation | None:
        return self._resources.letters.saving(effect, scope.run.path, self._resources.world.now())

    async def _settle(self, effect: Settle, scope: LocalScope) -> tuple[Call, ...] | None:
        order = scope.order_here()
        if order is scope.order:
            return await settle(scope, effect.call)
        from perdure.engines.runtime.thread_rest import settle_in_loop

        return await settle_in_loop(scope, effect.call, order)

    async def _save_more(self, effect: Save, scope: Any, commit: LoopWrites) -> None:
        letters = self._resources.letters
        parking = await commit.write(effect.rows, self._saving(effect, scope))
        if effect.letters:
            await to_thread_apart(letters.parked, parking)  # may have to wait for another process
            notify_parked(self._resources.observer, scope.id, scope.run.workflow, effect, parking.parked)

    async def _guarded(self, effect: Guarded, scope: Any) -> Outcome:
        try:
            begun = self.begin(effect.execute, scope)
            return begun if type(begun) is Outcome else await begun  # type: ignore[misc]
        except BaseException:
            self._resources.guards.give_back(effect.guard, effect.ticket)
            raise

    async def _make_ready(self, effect: MakeReady, scope: Any) -> None:
        from perdure.engines.processes.template import is_ready, make_ready

        if is_ready(effect.spec):
            return
        scope.executing += 1
        try:
            with own_timers():
                await asyncio.to_thread(make_ready, effect.spec)
        finally:
            scope.executing -= 1

    async def _wait(self, effect: Wait, scope: LocalScope) -> None:
        over = None if effect.noted else shown_waiting(self._resources, scope.id, effect)
        scope.executing += 1
        try:
            with own_timers():
                for seconds in pauses(self._resources, effect, scope):
                    await self._resources.world.asleep(seconds)
        finally:
            scope.executing -= 1
            if over is not None:
                over()

    async def _body(self, effect: Body, scope: LocalScope | None) -> Outcome:
        body = FunctionBody(self._resources, self._drivers, effect, scope)
        try:
            try:  # no coroutine around it: each step that waits would pass through that one too
                value = await self._call_function(effect.call, body)
            except Exception as failed:
                await keep_bodies_in_loop(failed)
                raise
            return body.returned(value)
        except BaseException as error:
            outcome = body.left_by(error, cancelled=_cancelled_from_outside())
            if outcome is None:
                raise
            return outcome
        finally:
            body.leave()

    async def _call_function(self, call: Call, body: FunctionBody) -> Any:
        scope = body.scope
        seconds = scope.limits.bound(None)
        try:
            with scope.main_branch():
                running = call.spec.fn(*call.args, **call.kwargs)
                if seconds is not None:
                    running = bounded(running, seconds, call.spec.owner, unless=scope.has_children)
                value = await running
                scope.unawaited.refuse()
                return value
        finally:
            await cancel_branches(scope)
            await body.close_in_loop()

    async def _end(self, effect: End) -> StateError | None:
        resources = self._resources
        try:
            parking = await self._commits.here().write(effect.rows, run_lifecycle.end_operation(resources, effect))
        except StateError as trouble:
            run_lifecycle.not_ended(resources, effect, trouble)
            return trouble
        except BaseException as error:
            broken_off_at_end(resources, effect, error)
            raise
        if parking is None and not resources.monitor.monitors(effect.run):
            run_lifecycle.ended(resources, effect, None)
        else:
            await to_thread_apart(run_lifecycle.ended, resources, effect, parking)  # an alert may go out
        return None


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
