"""What a workflow's calls are due to: an exception that it handles; its task is cancelled, from outside or by itself.

What a timeout or a task group of the workflow does to it is part of its history, and comes again in each life. What
comes from outside does not: a call that was given up for that has no record, as if its process had died, and what is
called meanwhile is not held against a later life that does not come to it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

from perdure.core.exceptions.exits import is_exit
from perdure.core.execution.own_errors import OwnErrors, chain
from perdure.core.execution.spec import Call
from perdure.engines.interface import here
from perdure.engines.runtime.ctrl_c import ctrl_c_in_loop

if TYPE_CHECKING:
    import asyncio

    from perdure.core.execution.branch import Branch
    from perdure.core.execution.history import History


class CancelledScope(Protocol):
    """A run whose task may be cancelled; what `BaseScope` says of these."""

    cancelled_from_outside: bool
    history: History
    main: Branch | None
    deciding: AbstractContextManager[Any] | None
    around: BaseException | None
    cut_short: list[int]
    cut_from: int | None
    withheld: list[Call]
    own_ctrl_c: bool
    left: tuple[str, str] | None
    cancels_itself: bool
    groups: list[ref[asyncio.TaskGroup]]


def is_cancelled(scope: CancelledScope) -> bool:
    """Is the task that executes the workflow's function to be cancelled, by whomever?"""
    task = None if scope.main is None else scope.main.task
    if _times(task):
        return True
    scope.cancels_itself = False
    return False


def _times(task: Any) -> int:
    """How often that is to be cancelled; a thread cannot be."""
    return task.cancelling() if hasattr(task, "cancelling") else 0


def from_outside(scope: CancelledScope) -> bool:
    """Is it, and not by the workflow itself?"""
    if not (scope.cancelled_from_outside and is_cancelled(scope)):
        return False
    if ctrl_c_in_loop():
        return True
    # What a cancel scope of anyio does is not seen here.
    return not (scope.cancels_itself or "anyio" in sys.modules or any(map(_cancels, scope.groups)))


def _cancels(group: Any) -> bool:
    """Has a task group cancelled the task that it is in, since one of its own has failed?"""
    found = group()
    return found is not None and bool(getattr(found, "_parent_cancel_requested", True))


def note_aftermath(scope: CancelledScope, error: BaseException) -> bool:
    """The workflow makes a call while it handles `error`: what is done from here on is due to that.

    It is not held against the script if the run is left by it, or, if asyncio has made it of Ctrl-C, by a cancellation.

    Returns:
        Whether the process may be killed before that: it is an exit, or a cancellation from outside.
    """
    history, errors = scope.history, list(chain(error, scope.around))
    following = int(history.last) + 1
    if history.own_errors is None:
        history.own_errors = OwnErrors()
    history.own_errors.handles(errors, following)
    if any(type(one).__name__ == "CancelledError" for one in errors):
        if scope.cut_from is None and is_cancelled(scope):
            scope.cut_from = following
        if from_outside(scope):
            return True
    if any(isinstance(one, KeyboardInterrupt) and not history.has_failed_by(one) for one in errors):
        scope.own_ctrl_c = scope.left is None
    return any(is_exit(type(one)) for one in errors)


def begin_when_cut(scope: CancelledScope, call: Call) -> None:
    """A call begins after others were given up because the task was to be cancelled."""
    if is_cancelled(scope):
        if from_outside(scope):
            call.due_to_exit = True
        return
    # By a timeout of the workflow's own, or the workflow has gone on regardless.
    scope.cut_from = None
    scope.cut_short.clear()
    given_up, scope.withheld = scope.withheld, []
    with scope.deciding or nullcontext():
        for each in given_up:
            scope.history.give_up(each)


def give_up(scope: CancelledScope, call: Call) -> bool:
    """A call was left by a cancellation, of its own task or that of the function: is that history?"""
    if not call.seq and from_outside(scope):
        scope.withheld.append(call)
        return False
    with scope.deciding or nullcontext():
        given_up = scope.history.give_up(call)
    if given_up and is_cancelled(scope):
        scope.cut_short.append(call.seq)
    return given_up


def call_noting(scope: Any, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
    """Carry out what a timer of the workflow is for: it may be to cancel the task of the function."""
    main = getattr(scope, "main", None)
    task = None if main is None else main.task
    before = _times(task)
    callback(*args)
    if _times(task) > before:
        scope.cancels_itself = True


def note_group(group: Any) -> None:
    """A task group starts a task: it may have to cancel the task of the function."""
    scope: Any = here.get()
    main = getattr(scope, "main", None)
    if main is None or getattr(group, "_parent_task", None) is not main.task:
        return
    if not any(one() is group for one in scope.groups):
        scope.groups[:] = [one for one in scope.groups if one() is not None]
        scope.groups.append(ref(group))
