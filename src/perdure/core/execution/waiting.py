"""A durable wait: how a workflow sleeps, or waits for a signal or another run, and what becomes of it after a death.

A wait is a call with a record like any other, of kind `builtin`. It is opened in one commit, and closed in another
that writes its record and takes the signal. Its identity is its name, its key and its branch: neither how long it is
nor what it waits for within, so an edit of those never strands a run, and a wait is never held against the script.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from typing import Any, Protocol

import msgspec

from perdure.core.exceptions import capture
from perdure.core.execution.call import recall
from perdure.core.execution.call_end import Decision, End, Failed, Succeeded
from perdure.core.execution.effects import Load, Outcome, Settle, WaitGivenUp
from perdure.core.execution.history import History
from perdure.core.execution.spec import Call, Spec
from perdure.core.policies.classify import assess
from perdure.core.policies.failure_rules import NO_RULES
from perdure.core.policies.verdicts import pack_verdict
from perdure.core.records import Row, StepStatus
from perdure.core.waits import Lapsed, Letter, Open, RunEnd, View, Wanted, Won, verdict
from perdure.errors import NotDecodable, PerdureError

NOTHING = b"\xc0"
"""None, as a record keeps it."""


@cache
def spec_of_wait(name: str) -> Spec:
    """What stands for a wait of that name where a call has its step."""
    spec = Spec("wait", _nothing, name)
    spec.owner = name
    spec.record_kind = "builtin"
    return spec


def _nothing() -> None:
    """A wait calls no function."""


class Wait(Protocol):
    """What is waited for, and what the workflow is given then.

    `since` is the engine's: when the wait was first looked at in this process, by the time of day and by a clock that
    only grows.
    """

    wanted: tuple[Wanted, ...]
    since: tuple[float, float] | None

    def result(self, won: Won, found: Letter | RunEnd | None) -> bytes | Exception:
        """What the record of the wait holds, and what is given to the workflow is loaded of; or what is raised.

        Raises:
            NotDecodable: the signal does not fit what is waited for.
        """

    def late(self, lapsed: Lapsed) -> bytes | Exception:
        """The same if nothing has come in time: a result, or what is raised."""


class Look(msgspec.Struct, frozen=True):
    """See how a wait stands. Answer: a View."""

    call: Call
    wait: Wait


class OpenWait(msgspec.Struct, frozen=True):
    """Write down that the run waits, and these rows. Answer: a View."""

    call: Call
    wait: Wait
    rows: tuple[Row, ...]


class Park(msgspec.Struct, frozen=True):
    """Let time pass until the wait may be decided; the process may be left meanwhile. Answer: a View."""

    call: Call
    wait: Wait


class SetAside(msgspec.Struct, frozen=True):
    """A signal does not fit the wait, for that reason: no wait takes it any more. Answer: a View."""

    call: Call
    wait: Wait
    letter: Letter
    reason: str


class CloseWait(msgspec.Struct, frozen=True):
    """Write the record of the wait and take the signal, if the wait has this end at that moment; `rows` in any case.

    Answer: None, or a View: it has not. Written, the number of the record is `call.seq`.
    """

    call: Call
    wait: Wait
    end: Won | Lapsed
    found: Letter | RunEnd | None
    row: Row
    rows: tuple[Row, ...]


def await_(call: Call, history: History, wait: Wait) -> Decision:
    """One call of a wait from a workflow."""
    seq = history.claim(call)
    if seq is not None and not history.is_abandoned(seq):
        return recall(call, history, (yield Load(call, seq)))
    if seq is not None:
        yield WaitGivenUp(call)
        call.seq = 0
    if history.unsettled(call.spec.name, call):
        yield Settle(call)  # nothing new is begun before the branches have what is theirs; a wait is never drift
    return (yield from _until_decided(call, history, wait))


def _until_decided(call: Call, history: History, wait: Wait) -> Generator[Any, Any, End]:
    view: View | None = yield Look(call, wait)
    while view is not None:
        end = verdict(wait.wanted, view)
        if isinstance(end, Open):
            if view.open:
                view = yield Park(call, wait)
            else:
                view = yield OpenWait(call, wait, history.with_notes(()))
            continue
        began = min(view.began)
        found = None
        try:
            if isinstance(end, Won):
                found = view.found[end.position]
                came = wait.result(end, found)
            else:
                came = wait.late(end)
            error = None
            if isinstance(came, Exception):
                output, error = capture.to_record(came, call.spec.module)
            else:
                output = came
            history.refuse_oversized(call.spec.owner, call.input, output)
        except (NotDecodable, ValueError, TypeError) as misfit:
            if not isinstance(found, Letter):
                raise
            reason = misfit.what if isinstance(misfit, PerdureError) else str(misfit)
            view = yield SetAside(call, wait, found, reason)
            continue
        status: StepStatus = "done" if error is None else "failed"
        row = history.row(call, status, output, began, max(0.0, view.now - began), 1)
        seconds = max(0.0, view.now - began)
        view = yield CloseWait(call, wait, end, found, row, history.with_notes(()))
        if view is not None:
            call.seq = 0
        elif error is None:
            return Succeeded(call.spec.plan.unpack(output), call.seq)
        else:
            known = pack_verdict(assess(error, began + seconds, NO_RULES))
            history.failed(error, call.seq, verdict=known)
            return Failed(error, Outcome(None, error, began, seconds), 1, verdict=known)
    raise AssertionError("a wait has ended without a record")
