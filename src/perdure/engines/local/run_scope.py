"""A run in this process, while its function executes: its row and limits, what is noted of it, and who is notified."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import count
from pathlib import Path, PurePath
from types import CodeType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from perdure.config.steady_clock import steady
from perdure.core.exceptions import capture
from perdure.core.exceptions.exits import is_exit
from perdure.core.execution.effects import Wait
from perdure.core.execution.history import Exit, History
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import OWN_MODULE, FunctionRecord, Place, RunRecord, StepKind, StepRecord, clean_up_name
from perdure.core.values import artifact_names, codec
from perdure.engines import functions
from perdure.engines.events import MapProgress, RunWaits, StepProgress, notify_wait
from perdure.engines.interface import StepContext, here
from perdure.engines.local import notices
from perdure.engines.local.limits import Limits
from perdure.engines.local.record_reader import RecordReader
from perdure.engines.local.resources import Resources
from perdure.engines.local.run_lifecycle import top_of
from perdure.engines.local.run_spending import RunSpending
from perdure.engines.registry import find_step, steps_named
from perdure.engines.runtime import captured_lines
from perdure.engines.runtime.base_scope import BaseScope
from perdure.engines.runtime.clock import World
from perdure.engines.runtime.timeouts import on_main_thread
from perdure.errors import StateError, StopRun
from perdure.store import artifacts

if TYPE_CHECKING:
    from perdure.core.execution.map_items import Tally
    from perdure.core.execution.run_tree import RunTree
    from perdure.core.tick_verdicts import RunTick
    from perdure.engines.local.loop_writes import LoopWrites
    from perdure.engines.local.runs_of_before import Left
    from perdure.engines.local.suspect_turn import SuspectTurn
    from perdure.store.attempt_logs import LogFile
    from perdure.store.batches import BatchRow
    from perdure.store.lives import Cut


MOST_CUT = 1_000
"""Calls that were broken off, which are kept."""


SHORTEST = 0.1
"""Seconds between two commits that a run makes for its progress alone; what comes sooner goes with the next commit."""


class RunScope(BaseScope):
    """One run, while its workflow's function executes.

    Args:
        resources: the state file and what goes with it.
        run: its row.
        history: its records, and what is claimed of them.
        spec: the workflow; None while a run that has ended is cleaned up.
        parent: the run that it is a child of.
    """

    takes_threads = True
    cancelled_from_outside = True
    suspects: SuspectTurn  # if calls of the run were in flight at crashes

    def __init__(
        self,
        resources: Resources,
        run: RunRecord,
        history: History,
        spec: Spec | None = None,
        parent: Self | None = None,
    ) -> None:
        super().__init__(run.id, history)
        self.resources = resources
        self.limits: Limits = Limits(resources, run, spec, parent.limits if parent is not None else None)
        self.run = run
        self.spec = spec
        self.parent = parent
        self.caller: Any = None  # the run that has called this one under its id
        self.records = RecordReader(resources.store, run.rid, int(history.last) if history.unread else -1)
        if history.unread:
            history.read_when_needed(self.records)
        self.commit: LoopWrites | None = None  # of the loop that the run executes on
        self._own_stem: str | None = None
        self.abandoned = False
        self.waits: Any = None  # of a root and its child runs: see parking
        self.children_of_before: dict[Any, Left] = {}  # that are in no record
        self.kin: list[Self] = []  # the scopes of a run and its child runs that execute
        self.tree: RunTree | None = None  # what its child runs have completed, if the script was edited meanwhile
        if parent is not None:
            self.family, self.kin, self.tree = parent.family, parent.kin, parent.tree
        if spec is not None and spec.rules.alerts is not None:
            self.alerts = spec.rules.alerts
        elif parent is not None:
            self.alerts = parent.alerts
        self.kin.append(self)
        if history.crashes:
            from perdure.engines.local.suspect_turn import SuspectTurn

            self.suspects = SuspectTurn()
        self.spending = RunSpending(resources, run, history, in_records=spec is not None)
        self.progress_shown = float("-inf")  # when, by the steady clock
        self.cut: list[Cut] = []
        self.exits: list[BaseException] = [] if parent is None else parent.exits  # what steps were left by
        self.left: tuple[str, str] | None = None  # a step that has no outcome, and what it was left by
        self.left_items: list[Exit] = []  # of maps under way
        self.in_function = spec is not None
        self.outside = here.get() if spec is None else None  # where the clean-ups of a run are made
        self._batches: dict[int, BatchRow] = {}  # maps under way
        self._tick: list[RunTick | None] = []  # once it was looked for
        self._map_numbers = count(1)
        if spec is not None and parent is None:
            resources.store.add_code(functions.code_of(spec))
            if spec.file not in resources.store.described:
                functions.add_workflows(resources.store, spec.file)
        if resources.keeps_logs:
            captured_lines.wrap()

    @property
    def log_file(self) -> LogFile | None:
        """Where the lines of its attempts go; None if none are kept."""
        return self.resources.log_file

    @property
    def state_file(self) -> Path | None:
        """The state file that the run is in."""
        return self.resources.store.path

    def cut_off(self, cut: Cut) -> None:
        """An attempt was broken off in its middle; if the run is, its call is executed in another life as well."""
        if len(self.cut) < MOST_CUT:
            self.cut.append(cut)

    def noted_module(self, spec: Spec) -> str:
        """The name of its file alone, as in state files of version 1: notes of before are found again.

        The run's own script keeps the name that it had at the first note, should it be renamed.
        """
        stem = PurePath(os.path.realpath(spec.file)).stem or OWN_MODULE
        if os.path.abspath(spec.file) != self.run.path:
            return stem
        if self._own_stem is None:
            store, rid = self.resources.store, self.run.rid
            known = store.function(rid, "defer", "")
            self._own_stem = stem if known is None else known.module
            if known is None:
                store.add_function(rid, FunctionRecord("defer", "", stem, "", ""))
        return self._own_stem

    def noted(self, note: Spec, asked: Call, now: tuple[str, str, bytes]) -> tuple[str, str, bytes]:
        """What an earlier life has noted of the same deferring, if one has."""
        if not self.history.resumed:
            return now
        from perdure.core.execution.cleanup_records import noted_before

        def is_gone(module: str) -> bool:
            return all(self.noted_module(one) != module for one in steps_named(asked.spec.name))

        with self.deciding or nullcontext():
            return noted_before(note, now, asked, self.history, is_gone)

    def _note_place(self, spec: Spec) -> None:
        if spec.record_kind == "step":
            store, rid, code = self.resources.store, self.run.rid, functions.code_of(spec)
            store.add_code(code)
            known = store.function(rid, "step", spec.name) if self.history.resumed else None
            defaults, packed = spec.signature.defaults(), None
            if defaults or (known is not None and known.defaults):
                from perdure.core.execution.defaults import pack_defaults, unpack_defaults

                if known is not None and (recorded := unpack_defaults(known.defaults)):
                    self.recorded_defaults[spec.name] = recorded
                    defaults = {**defaults, **recorded}
                packed = pack_defaults(defaults)
            store.add_function(rid, functions.record_of(spec, "step", spec.name, self.run.path, code.digest, packed))

    def called_run_left_by(self, call: Call, error: BaseException) -> None:
        """A run that this one has called was left by that: an exit the workflow may handle, and go on."""
        if is_exit(type(error)) and self._stopped is None and not call.seq:
            with self.deciding or nullcontext():
                self.history.left_by_exit(call, error, self.world.now(), 0.0, 1)

    def step_left_by(self, call: Call, error: KeyboardInterrupt) -> None:
        """Ctrl-C has left the call of a step, maybe in code of ours: an exit as well, unless the step is saved."""
        if not self.in_function or self._stopped is not None or any(one is error for one in self.exits):
            return
        from perdure.engines.runtime.ctrl_c import noting_interrupt

        with noting_interrupt(), self.deciding or nullcontext():
            if not self.history.has_counted(call):
                self.history.claim(call)
            if not call.seq or not self._is_saved(call.seq):
                self.history.left_by_exit(call, error, self.world.now(), 0.0, 1)
            else:
                self.left = call.spec.owner, ""

    def _is_saved(self, seq: int) -> bool:
        with suppress(StateError):
            self.read(seq)
            return True
        return False

    def find_step(self, kind: StepKind, module: str, name: str, given: bytes) -> Spec:
        """The step that a clean-up calls.

        Raises:
            NotFound: the script does not define it any more.
        """
        store, rid = self.resources.store, self.run.rid
        record = store.function(rid, "step", name)
        if record is None:
            return find_step(Place(module, ""), name, given)
        called = msgspec.structs.replace(record, kind=kind, name=clean_up_name(kind, name))
        store.add_function(rid, called)  # of its dead letter, should it become one
        return functions.find(record, self.run.path, given)

    def is_alone(self) -> bool:
        """Is there one branch, so that what it does next is all that the run does next?"""
        return self.main is None or sum(not branch.done() for branch in list(self.main.living)) <= 1

    def look(self) -> None:
        """A safe point: the run may be ended here.

        Raises:
            StopRun: its time is over, or it is cancelled.
            UsageError: the workflow's function has ended.
        """
        if self.closed:
            self.refuse_if_over()
        self.check()
        reason = self.limits.look()
        if reason is not None:
            raise self.stop(StopRun(reason))

    def read(self, seq: int) -> StepRecord:
        """The record of that number."""
        return self.records.record(seq)

    def notify_waiting(self, reason: str) -> None:
        """Say, on standard error if there is no observer, that the replay waits for something."""
        if self.resources.observer is not None:
            self.resources.observer.notify(RunWaits(self.run.workflow, reason))
        else:
            from perdure.config.stderr_line import say
            from perdure.core.redaction.printable import one_line

            say(f"perdure: run {one_line(self.id)} waits: {one_line(reason)}")

    def keep_note(self, about: str, text: str, kind: type[Warning] = RuntimeWarning) -> None:
        """Keep with the run that something of it is not saved, or (UserWarning) is not what is declared."""
        fault = capture.encode(capture.to_fault(kind(text)))
        self.resources.store.note(
            self.run, codec.digest(f"{about}: {text}".encode()), fault, self.resources.world.now()
        )

    @property
    def artifacts(self) -> Path:
        """Where `perdure.artifact` keeps large data."""
        return artifacts.folder_of(self.resources.store.path)

    def remake(self, digest: str) -> str:
        """The command that makes the step again whose result names an artifact; empty if no step of this run does."""
        from perdure.core import commands

        store, rid, first = self.resources.store, self.run.rid, 0
        while records := store.records(rid, first):
            for one in records:
                if one.kind == "step" and digest in artifact_names.named_in(one.output):
                    top, above = top_of(store, self.run)
                    return commands.fork(top, above or one.name)
            first = records[-1].seq + 1
        return ""

    def check_late(self, error: Exception) -> None:
        """The same after an attempt: if it ran out of time because the run did, it is the run that has failed.

        Raises:
            StopRun: it did.
        """
        if (late := self.limits.late(error)) is not None:
            raise self.stop(StopRun(late))

    def interrupt(self, caller: CodeType) -> AbstractContextManager[None]:
        """The code between the steps of a sync workflow, interrupted inside when the run's time is over.

        Args:
            caller: the code of ours that calls the workflow's function.
        """
        deadline = self.limits.deadline
        if deadline is None or not on_main_thread():
            return nullcontext()
        from perdure.engines.local.interrupt import interrupt

        left = self.limits.bound(None)
        assert left is not None
        return interrupt(left, lambda: self.stop(StopRun(deadline.exceeded())), caller)

    # -- maps ---------------------------------------------------------------------------------------------------------

    def begin_map(self, spec: Spec, total: int | None, concurrency: int | None) -> int:
        """A map begins: its number in the run."""
        from perdure.store.batches import BatchRow

        store, run = self.resources.store, self.run
        number = next(self._map_numbers)
        known = store.batch(run.rid, number) if self.history.resumed else None
        began = self.world.now() if known is None else known.began
        row = self._batches[number] = BatchRow(run.rid, number, spec.name, total, concurrency, began)
        store.journal.ahead(*row.put())
        return number

    def end_map(self, number: int) -> None:
        """The map of that number is over: what is under way has come to its end."""
        row = self._batches.pop(number)
        row.ended = self.world.now()
        self.resources.store.journal.ahead(*row.put())

    # -- what it says of itself ---------------------------------------------------------------------------------------

    @property
    def world(self) -> World:
        """Time and chance."""
        return self.resources.world

    def notify_wait(self, wait: Wait) -> Callable[[], None]:
        """Notify of a call that waits for its next attempt; what is returned is called when that is over."""
        from perdure.engines.local.waiting_calls import shown_waiting

        notify_wait(self.resources.observer, self.id, self.run.workflow, wait)
        notices.waits(self.resources, wait)
        return shown_waiting(self.resources, self.id, wait)

    def notify_map(self, name: str, tally: Tally, total: int | None) -> None:
        """Notify of how far a map over the step of that name has come."""
        observer = self.resources.observer
        if observer is not None:
            observer.notify(MapProgress(self.id, self.run.workflow, name, tally.done, tally.dead, tally.skipped, total))

    def progress(self, call: Call, done: float, total: float | None, note: str) -> None:
        """Notify of how far a step has come; a run that reports progress does not hang."""
        resources = self.resources
        if resources.monitor.recorder is not None:
            resources.monitor.recorder.progress()
            context = here.get()
            if isinstance(context, StepContext):
                from perdure.config import secrets

                note = secrets.conceal(note) if note else ""
                resources.monitor.recorder.how_far(context.slot, done, total, note)
        if resources.observer is not None:
            resources.observer.notify(StepProgress(self.id, self.run.workflow, call, done, total, note))

    def publish(self, name: str, packed: bytes, *, soon: bool = False) -> None:
        """Show a packed value of the run that this is part of; `soon`: it may go with the next commit.

        Raises:
            StateError: it cannot be written.
        """
        from perdure.store import bell, published

        store = self.resources.store
        rid, now = store.lineage(self.run.rid)[-1], self.world.now()
        if soon and steady() - self.progress_shown < SHORTEST:
            store.journal.ahead(*published.put_soon(rid, name, packed, now))
            return
        store.journal.write((), published.put(rid, name, packed, now))
        if soon:
            self.progress_shown = steady()
        bell.ring(store.path)

    def tick(self) -> RunTick | None:
        """The tick that the run, or the one that it is a child or a fork of, was made for; None: none."""
        if not self._tick:
            self._tick.append(self._find_tick())
        return self._tick[0]

    def _find_tick(self) -> RunTick | None:
        from perdure.core.tick_verdicts import RunTick
        from perdure.store.schedule_runs import tick_of_run

        store = self.resources.store
        run: RunRecord | None = store.run_by_number(store.lineage(self.run.rid)[-1])
        while run is not None:
            found = tick_of_run(store, run.rid)
            if found is not None:
                return RunTick(found.due, found.tz, found.missed, found.previous)
            run = None if run.forked_from is None else store.run_by_number(run.forked_from)
        return None

    def reader(self) -> RecordReader:
        """Access to the records of this run, also after it has ended."""
        return RecordReader(self.resources.store, self.run.rid)
