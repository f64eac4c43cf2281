"""What happens while workflows run, as events, and who is notified of them.

An engine builds an event only if it has an observer. An observer is notified on the thread on which the event happens,
at the moment at which it happens: an event carries no time of its own unless it says how long something took. Events
carry calls and exceptions as they are, credentials included: `observers.event_json` makes plain redacted data of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from perdure.core.exceptions import capture
from perdure.core.exceptions.capture import Fault
from perdure.core.execution.effects import Outcome, Save, Wait
from perdure.core.execution.spec import Call
from perdure.core.records import NAME, OUTPUT, SEQ


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class _Event(msgspec.Struct, frozen=True, tag_field="event", tag=_snake):
    """The tag is the name of the event in JSON."""


class _RunEvent(_Event, frozen=True):
    """About the run of that id, and the workflow of that name."""

    run: str
    workflow: str


class _CallEvent(_RunEvent, frozen=True):
    """About a call of a step, or of a clean-up."""

    call: Call

    @property
    def step(self) -> str:
        """The name of the step."""
        return self.call.spec.name


class RunWaits(_Event, frozen=True):
    """A run cannot begin or go on yet: another process has it, or the lock of its workflow; or no worker executes a run
    that it waits for. Happens once for each run."""

    workflow: str
    reason: str


class RunStarted(_RunEvent, frozen=True):
    """A new run begins."""


class RunResumed(_RunEvent, frozen=True):
    """A run goes on, with that many steps saved before."""

    recorded: int


class RunEnded(_RunEvent, frozen=True):
    """A run has ended with this status: done, failed, parked as a whole, or cancelled."""

    status: str


class RunStopped(_RunEvent, frozen=True):
    """A run was broken off in its middle, by Ctrl-C or sys.exit for instance; it has not ended, and can be resumed."""

    error: BaseException


class RunSuspended(_RunEvent, frozen=True):
    """A run was left to its waits: it has not ended, and goes on when one of them has.

    `wake` is when that is at the latest, in seconds since the epoch; None if it is not a question of time.
    """

    wake: float | None


class StepReplayed(_CallEvent, frozen=True):
    """A call is answered from its record; nothing runs."""


class AttemptStarted(_CallEvent, frozen=True):
    """An attempt of a step begins; the first is number 1."""

    attempt: int


class AttemptEnded(_CallEvent, frozen=True):
    """An attempt of a step has ended, with an error or without.

    `started` is seconds since the epoch, `seconds` how long it took.
    """

    attempt: int
    error: Exception | None
    started: float
    seconds: float


class RetryScheduled(_CallEvent, frozen=True):
    """The attempt of that number has failed with `error`, and the next one begins in `seconds`."""

    attempt: int
    seconds: float
    error: Exception


class CallHeld(_CallEvent, frozen=True):
    """A call may not go yet, since a breaker is open or it is not its turn; it asks again in `seconds`."""

    reason: str
    seconds: float


class DeadLetterParked(_RunEvent, frozen=True):
    """A call of a step, or of a clean-up, has become the dead letter of that number."""

    step: str
    letter: int
    fault: Fault


class MapProgress(_RunEvent, frozen=True):
    """How many items of a map are done and how many are dead letters; `skipped` of both ended in an earlier process.

    `total` is None if the number of items is not known before they are drawn.
    """

    step: str
    done: int
    dead: int
    skipped: int
    total: int | None


class StepProgress(_CallEvent, frozen=True):
    """A step says by `perdure.progress` how far it has come; `total` is None if it does not know."""

    done: float
    total: float | None
    note: str


Event = (
    RunWaits
    | RunStarted
    | RunResumed
    | RunEnded
    | RunStopped
    | RunSuspended
    | StepReplayed
    | AttemptStarted
    | AttemptEnded
    | RetryScheduled
    | CallHeld
    | DeadLetterParked
    | MapProgress
    | StepProgress
)


class Observer(Protocol):
    """Is notified of what happens. It picks the kinds of events that it needs and ignores all others."""

    def notify(self, event: Event, /) -> None:
        """Take an event, on whichever thread it happens; quick, and without raising."""


def attempt_ended(run: str, workflow: str, call: Call, attempt: int, outcome: Outcome) -> AttemptEnded:
    """The event of an attempt that has ended like this."""
    return AttemptEnded(run, workflow, call, attempt, outcome.error, outcome.started, outcome.seconds)


def notify_wait(observer: Observer | None, run: str, workflow: str, effect: Wait) -> None:
    """Notify an observer, if there is one, of what a call waits for."""
    if observer is None:
        return
    if effect.error is None:
        observer.notify(CallHeld(run, workflow, effect.call, effect.reason, effect.seconds))
    else:
        observer.notify(RetryScheduled(run, workflow, effect.call, effect.attempt, effect.seconds, effect.error))


def notify_parked(observer: Observer | None, run: str, workflow: str, effect: Save, numbers: Sequence[int]) -> None:
    """Notify an observer, if there is one, of the dead letters among the records that were saved, by their numbers."""
    if observer is None:
        return
    rows = {row[SEQ]: row for row in effect.rows}
    for seq, number in zip(effect.letters, numbers, strict=True):
        row = rows[seq]
        observer.notify(DeadLetterParked(run, workflow, row[NAME], number, capture.decode(row[OUTPUT])))
