"""The step by which a workflow of a cluster starts a run that stands by itself."""

from __future__ import annotations

import copy
from collections.abc import Generator
from sys import exception
from typing import Any, Protocol, cast

import msgspec

from perdure.core.execution.branch import Branch
from perdure.core.execution.call import perform
from perdure.core.execution.drift import refuse_begun_otherwise
from perdure.core.execution.history import History
from perdure.core.execution.idempotency import child_id
from perdure.core.execution.spec import Call, Spec
from perdure.engines.functions import known_by_id, queueing_call
from perdure.engines.interface import Enqueued, StepContext, here
from perdure.engines.temporal.encryption import blinded
from perdure.engines.temporal.payloads import RunCommand
from perdure.engines.temporal.unsupported import refuse_queueing


class QueueingScope(Protocol):
    """What is needed of the run that starts another one."""

    id: str
    command: RunCommand
    history: History
    children: dict[str, str]

    def check(self) -> None:
        """Make sure that the run goes on."""

    def handles(self, error: BaseException | None) -> bool:
        """A call is made while the workflow handles that: is it due to an exit?"""

    def admit(self, spec: Spec) -> None:
        """Let a step be called under its name."""

    def branch(self) -> Branch | None:
        """The branch that the caller is in."""


def queueing(
    scope: QueueingScope, spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], how: Enqueued
) -> tuple[Call, Call]:
    """The call that stands for it in the records, and that of the workflow. It has no occurrence before its claim."""
    scope.check()
    scope.handles(exception())
    refuse_queueing(spec, how)
    call = queueing_call(spec, args, kwargs, how.id)
    (asked,) = call.args
    call.args, call.kwargs = asked.args, asked.kwargs
    scope.admit(call.spec)
    step = call.spec = copy.copy(call.spec)
    step.in_place, step.signature = True, asked.spec.signature

    def start(*_: Any, **__: Any) -> str:
        id = _id_of_child(scope, asked, call.key, call.n) if how.id is None else how.id
        side: Any = cast(StepContext, here.get()).scope
        started: str = side.enqueue(asked, msgspec.structs.replace(how, id=id))
        return started

    step.fn = start
    branch = scope.branch()
    return known_by_id(call if branch is None else branch.place(call), how.id), asked


def decide(scope: QueueingScope, call: Call, asked: Call, how: Enqueued) -> Generator[Any, Any, Any]:
    """What the call comes to."""

    def left(workflow: str, key: bytes) -> str | None:
        id = _id_of_child(scope, asked, key, 0)
        return id if id in scope.children and not scope.history.was_called(workflow, key) else None

    seq = scope.history.claim(call)
    if seq is None:
        yield from refuse_begun_otherwise(call, asked, scope.history, left, how.id)
    return (yield from perform(call, scope.history, seq))


def _id_of_child(scope: QueueingScope, asked: Call, key: bytes, n: int) -> str:
    """Everybody can read it: nothing follows from it about the inputs."""
    return child_id(scope.id, asked.spec.name, blinded(scope.command.blind, key), n)
