"""Functions to call inside a step or a workflow: attempt, progress; now, uuid, random."""

from __future__ import annotations

import uuid as _uuid
from datetime import UTC, datetime

from perdure.api.builtin import builtin
from perdure.api.idempotency_key import inside
from perdure.engines.interface import StepContext, here


def attempt() -> int:
    """The number of this attempt of the step, from 1; attempts before a crash count.

    Raises:
        UsageError: called outside a step of a running workflow.
    """
    return inside("attempt").attempt


def progress(done: float, total: float | None = None, note: str = "") -> None:
    """Report how far this step is; `perdure run` and `perdure show` display it. Outside a workflow it does nothing.

    Args:
        done: how much is done, in a unit of your choice.
        total: how much there is in all, in the same unit; None if it is not known.
        note: a few words to display beside it.
    """
    context = here.get()
    if isinstance(context, StepContext):
        if context.scope is not None:
            context.scope.progress(context.call, done, total, note)
        elif context.orderer is not None:  # in a process of its own
            context.orderer.progress(done, total, note)


@builtin("perdure.now")
def now() -> datetime:
    """The current time in UTC, as an aware datetime; on resume the recorded one, so that the workflow decides the same.

    Outside a workflow it is simply the current time.
    """
    return datetime.now(UTC)


@builtin("perdure.uuid")
def uuid() -> _uuid.UUID:
    """A random UUID (version 4; RFC 9562, section 5.4); on resume the recorded one. Outside a workflow, a new one."""
    return _uuid.uuid4()


@builtin("perdure.random")
def random() -> float:
    """A random number from 0 (included) to 1 (excluded); on resume the recorded one. Outside a workflow, a new one."""
    import random  # here, since most scripts do not ask

    return random.random()
