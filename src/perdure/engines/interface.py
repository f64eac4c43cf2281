"""What user code runs inside of: an engine's scope, or one attempt of a step."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Literal, Protocol

from perdure.core.execution.map_items import Tally
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import AttemptRecord, RunStatus, StepRecord
from perdure.engines.events import Observer

OnFailure = Literal["dead_letter", "raise"]
Concurrency = int | Literal["auto"]
Began = Callable[[str], None]
"""Told the id of a run as soon as it is taken."""


class StepContext:
    """One attempt of a step, as its own code sees it."""

    __slots__ = ("attempt", "call", "run_id", "scope")

    def __init__(self, run_id: str, call: Call, attempt: int, scope: Scope | None) -> None:
        self.run_id = run_id
        self.call = call
        self.attempt = attempt
        self.scope = scope

    def idempotency_key(self) -> str:
        """The same for every attempt of this call, in this process or another; different for every other call."""
        call = self.call
        return idempotency_key(self.run_id, call.spec.name, call.key + call.salt, call.n)


def idempotency_key(run_id: str, name: str, key: bytes, n: int) -> str:
    """32 hexadecimal digits that stand for one call of one run."""
    digest = hashlib.blake2b(f"{run_id}\0{name}\0{n}\0".encode() + key, digest_size=16)
    return digest.hexdigest()


class Scope(Protocol):
    """A running workflow, as its steps and child workflows see it."""

    id: str

    def call(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a sync step: returns its value or raises what it raised."""

    async def acall(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an async step."""

    def child(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a sync workflow as a child."""

    async def achild(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an async workflow as a child."""

    def batch(
        self, calls: Iterator[Call], spec: Spec, concurrency: Concurrency, on_failure: OnFailure, total: int | None
    ) -> Tally:
        """Run a sync step over many calls, `concurrency` at a time."""

    async def abatch(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        bind: Callable[[Any], Call],
        spec: Spec,
        concurrency: Concurrency,
        on_failure: OnFailure,
        total: int | None,
    ) -> Tally:
        """Run an async step over many items, `concurrency` at a time."""

    def defer(self, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], note: Spec) -> None:
        """Call a step at the end; `note` is the step that writes that down."""

    def progress(self, call: Call, done: float, total: float | None, note: str) -> None:
        """Tell whoever watches how far a step has come."""

    def reader(self) -> Reader:
        """Access to the records of this run."""


class Reader(Protocol):
    """Access to the records of one run, also after it has ended."""

    def record(self, seq: int) -> StepRecord:
        """The record of that number."""

    def attempts(self, record: StepRecord) -> Sequence[AttemptRecord]:
        """The failed attempts of that record's call."""

    def letter(self, seq: int) -> int | None:
        """The number of the dead letter that is about that record, where letters have numbers."""


class Engine(Protocol):
    """Runs workflows from the outside. `observer`, if there is one, is notified of what happens."""

    observer: Observer | None

    def run(
        self, call: Call, *, script: str, id: str | None = None, resume: str | None = None, began: Began | None = None
    ) -> Any:
        """Run a sync workflow to its end: start it, resume it, or return the result that its id already has."""

    async def arun(
        self, call: Call, *, script: str, id: str | None = None, resume: str | None = None, began: Began | None = None
    ) -> Any:
        """The same for an async workflow."""

    def status(self, id: str) -> RunStatus:
        """How a run stands."""


here: ContextVar[Scope | StepContext | None] = ContextVar("perdure", default=None)


def script_around(context: Scope | StepContext | None) -> str:
    """The file of the program, whose settings hold; for what perdure itself starts (a worker, say) that of the step."""
    main = sys.modules.get("__main__")
    module = getattr(getattr(main, "__spec__", None), "name", None) or ""
    if module.partition(".")[0] != "perdure":
        return getattr(main, "__file__", None) or ""
    return context.call.spec.file if isinstance(context, StepContext) else ""
