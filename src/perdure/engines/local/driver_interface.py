"""What carries the decisions of a run to their end: by blocking a thread, or by awaiting in a loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Protocol, TypeVar

from perdure.core.execution.effects import Execute, Outcome
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import Row

Program = Generator[Any, Any, Any]
S = TypeVar("S", contravariant=True)


class Sync(Protocol[S]):
    """Performs the effects of decisions by blocking."""

    def drive(self, program: Program, scope: S | None, answer: Any = None) -> Any:
        """Carry a decision to its end on this thread."""

    def until(self, program: Program, kind: type) -> Program:
        """Carry a decision on this thread until it asks for an effect of that kind; what is left of it."""

    @property
    def execute(self) -> Callable[[Execute, S], Outcome]:
        """Makes an attempt on this thread."""

    def step(self, call: Call, scope: S) -> Any:
        """A call that the workflow makes, of which no other branch has to know: the end of it."""

    def call(self, program: Program, scope: S, spec: Spec) -> Any:
        """Carry the call of a step to its end, on a thread from which its timeout can be kept."""

    def learn_to_wait(self) -> None:
        """From now on it performs the effects of durable waits too."""


class Tasks(Protocol[S]):
    """Performs the effects of decisions by awaiting."""

    def drive(self, program: Program, scope: S | None, *, in_branch: bool = False) -> Awaitable[Any]:
        """Carry a decision to its end in the current task, which is known to be a branch (`in_branch`), or may be."""

    def begin(self, effect: Execute, scope: S) -> Outcome | Awaitable[Outcome]:
        """Begin an attempt in this task: how it went, if it has not waited for anything; else what comes of it."""

    def keep_soon(self, rows: Sequence[Row], then: Callable[[BaseException | None], None], scope: S) -> None:
        """Save rows, to which more may be added until the turn of the loop ends; `then` is told how that went."""

    def step(self, call: Call, scope: S) -> Awaitable[Any]:
        """A call of a step that the workflow makes, of which no other thread has to know."""

    def call(self, program: Program, scope: S, call: Call) -> Awaitable[Any]:
        """A call that the workflow makes: its value, or what it raised."""

    def learn_to_wait(self) -> None:
        """From now on it performs the effects of durable waits too."""


class Drivers(Protocol[S]):
    """What carries the decisions of a run."""

    @property
    def sync(self) -> Sync[S]:
        """By blocking."""

    @property
    def tasks(self) -> Tasks[S]:
        """By awaiting."""
