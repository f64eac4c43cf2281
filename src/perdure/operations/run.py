"""`perdure run`: executes a workflow while it is observed; `resume` and `fork` do the same."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.api.workflow import engine_of
from perdure.core.execution.identity import identify
from perdure.core.execution.recorded_call import recorded_call
from perdure.core.execution.spec import Call, spec_of
from perdure.core.records import RunRecord
from perdure.core.values import codec
from perdure.engines.events import Observer
from perdure.engines.observers.attach import observers_of
from perdure.engines.observers.fanout import FanOut
from perdure.errors import EngineError
from perdure.operations.location import Location, pin
from perdure.operations.scripts import AnyWorkflow
from perdure.store import listing
from perdure.store.runs import Store
from perdure.store.unseen_results import Unseen, unseen

LONGEST = 100_000
"""Characters of a result that are shown."""


class Finish(msgspec.Struct, frozen=True):
    """A run that is done: its result as plain data and as Python shows it; its dead letters, and its children's.

    `unseen` is what it does not contain, since it had gone on when that was re-driven. `steps` is how many it has come
    past, whichever process has executed them.
    """

    run: str
    workflow: str
    result: Any
    shown: str | None
    dead_letters: int
    unseen: Unseen | None = None
    steps: int = 0


class Saved(msgspec.Struct, frozen=True):
    """How far a run has come: its status in the state file, how many of its steps are saved, and whether it has an id
    that was given."""

    run: str
    status: str
    steps: int
    named: bool


class Execution:
    """A workflow that this process runs, once.

    Args:
        workflow: which.
        location: the state file.
        watch: is notified of what happens; whatever it raises, the run goes on.
        stay: it is not left while it only waits.

    `run_id` is the id of the run as soon as it is taken.

    Raises:
        StateError: the state file cannot be used.
    """

    def __init__(self, workflow: AnyWorkflow, location: Location, watch: Observer, *, stay: bool = False) -> None:
        self.workflow = workflow
        self.location = location
        self.run_id: str | None = None
        pin(location)
        self._engine = engine_of(spec_of(workflow))
        if stay:
            self._engine.stay()
        self._engine.observer = FanOut(watch, *observers_of(spec_of(workflow).file, shown=True), shows=True)

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any], id: str | None = None) -> Finish:
        """Start the workflow, or go on with it, or take the result that its id has.

        Args:
            args: its positional arguments.
            kwargs: its keyword arguments.
            id: exactly one run has this id, ever.

        Raises:
            As `Workflow.__call__` does.
        """
        options = self.workflow.with_options(id=id) if id is not None else self.workflow
        return self._drive(identify(spec_of(options), args, kwargs), id=id)

    def resume(self, run: RunRecord) -> Finish:
        """Go on with a run, with the inputs that it was started with.

        Raises:
            OtherInputs: the workflow does not take them any more.
            NotDecodable: its parameters are not annotated with the classes of the recorded inputs.
            And as `run` does.
        """
        return self._drive(recorded_call(spec_of(self.workflow), run), resume=run.id)

    def saved(self) -> Saved | None:
        """How far the run has come; None if there is none yet."""
        if self.run_id is None:
            return None
        with self._engine.records(self.run_id) as store:
            run = store.run(self.run_id)
            return Saved(run.id, run.status, sum(store.counts(run.rid).values()), run.named)

    def has_ended(self) -> bool:
        """Whether the run is known to be under way no more: it is not if its cluster does not answer."""
        try:
            saved = self.saved()
        except EngineError:
            return False
        return saved is not None and saved.status not in ("queued", "running", "suspended")

    def _drive(self, call: Call, *, id: str | None = None, resume: str | None = None) -> Finish:
        engine, spec = self._engine, spec_of(self.workflow)
        if spec.is_async:
            import asyncio

            value = asyncio.run(engine.arun(call, script=spec.file, id=id, resume=resume, began=self._began))
        else:
            value = engine.run(call, script=spec.file, id=id, resume=resume, began=self._began)
        assert self.run_id is not None
        with engine.records(self.run_id) as store:
            return finish_of(store, self.run_id, value)

    def _began(self, run_id: str) -> None:
        self.run_id = run_id


def finish_of(store: Store, run_id: str, value: Any) -> Finish:
    """How a run that is done has ended, with the value that its workflow returned."""
    run = store.run(run_id)
    return Finish(
        run=run.id,
        workflow=run.workflow,
        result=codec.to_builtins(run.output or b""),
        shown=None if value is None else _repr(value, run.output or b""),
        dead_letters=listing.dead_letters(store, run.rid),
        unseen=unseen(store, run) if run.parent is None else None,
        steps=sum(store.counts(run.rid).values()),
    )


def _repr(value: Any, packed: bytes) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  a __repr__ of the user's that fails must not fail a run that is done
        return codec.describe(packed, limit=LONGEST)
