"""What the core asks an engine to do.

A decision is a generator: it yields one of these, the engine does it and sends back the answer. Each effect says what
it is answered with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from perdure.core.exceptions.program_faults import Suspicion
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import AttemptRecord, Marks, Row

if TYPE_CHECKING:
    from perdure.core.policies.breaker import Grade, Ticket
    from perdure.core.policies.guard import Guard
    from perdure.core.policies.rate import Turn


class Outcome(msgspec.Struct):
    """How an attempt went: its value, or the exception. `started` in seconds since the epoch, `seconds` it took.

    `at` is when it began by a clock that only ever grows; None where there is none for all attempts of a call.

    Where the whole series of attempts was made elsewhere, under the same policy, `attempts` is how many there were:
    the outcome is final then, and `packed` is the value as bytes instead of `value`. Where the attempt was made in
    another process, `program` says how surely the program is at fault.

    `refused` says why a value is none that the step may return, once that was looked at (`call_end.accept`).

    Whoever decides takes the exception out (`failed_with`): an engine's frames hold the outcome, and where the
    exception's traceback leads to them, what it holds would last until the collector comes by.
    """

    value: Any
    error: Exception | None
    started: float
    seconds: float
    attempts: int = 0
    packed: bytes | None = None
    at: float | None = None
    program: Suspicion | None = None
    refused: Exception | None = None

    def failed_with(self) -> Exception | None:
        """What it failed with, or was refused for, which is kept here no more."""
        error = self.refused if self.error is None else self.error  # which may be falsy, as a collection of none is
        self.error = self.refused = None
        return error

    def began(self) -> float:
        """When it began, by the best clock there is; for differences only."""
        return self.started if self.at is None else self.at


class Load(msgspec.Struct, frozen=True):
    """Read a record of this run, to answer the call with or (`peek`) only to look at it. Answer: the StepRecord."""

    call: Call | None
    seq: int
    peek: bool = False


class Execute(msgspec.Struct, frozen=True):
    """Run the call's function once, under its timeout; `parked`: failing for good makes a dead letter of it.

    `alone`: it was in flight when a process died, so for so many seconds no other such call begins beside it.

    Answer: an Outcome.
    """

    call: Call
    attempt: int
    parked: bool = False
    alone: float = 0.0


class ClearCrashes(msgspec.Struct, frozen=True):
    """A suspect has come to an end without killing the process: forget what spoke against it. Answer: None."""

    rid: int
    call: Call


class Wait(msgspec.Struct, frozen=True):
    """Let that many seconds pass before the attempt of that number.

    `error` is what the one before failed with; or `reason` says what is waited for (a breaker, a turn). `noted`: who
    watches knows of it already. Answer: None, or how many seconds late the caller was called back.
    """

    call: Call
    seconds: float
    attempt: int
    error: Exception | None = None
    reason: str = ""
    noted: bool = False


class MakeReady(msgspec.Struct, frozen=True):
    """Have what the attempts of a step are made in: neither their time nor their turn passes while it is made.

    Answer: None.
    """

    spec: Spec


class Admit(msgspec.Struct, frozen=True):
    """May a call go, as far as its guard is concerned? `turn` is the slot that it has. Answer: a Pass or a Hold."""

    guard: Guard
    turn: Turn | None = None


class Guarded(msgspec.Struct, frozen=True):
    """Execute, with a ticket: it is given back if the attempt is broken off, so that nothing is said about it.

    Answer: an Outcome.
    """

    execute: Execute
    guard: Guard
    ticket: Ticket


class Report(msgspec.Struct, frozen=True):
    """A call that was let through has ended; `error` is its failure in one line. Answer: None.

    With `pause`, the service is not to be called for so many seconds.
    """

    guard: Guard
    ticket: Ticket
    grade: Grade
    error: str = ""
    pause: float | None = None


class Save(msgspec.Struct, frozen=True, gc=False):
    """Make these rows durable, and take those numbered `drop` back; `letters` are the rows that are dead letters.

    `edited` is what an earlier letter of that call was edited into, which stays its input. `attempt` is the last failed
    attempt of a call that has failed for good: one fact, and one commit.

    `aftermath`: first and last number of the records that are not held against the script any more. `marks` are
    added to rows of calls that were executed more than once. `enqueue`: runs that are queued with it, those of the last
    rows; if a dedup key stands for another run, the output of its row is the id of that, and if an id stands for a run
    with other inputs, its row is a failure. `beforehand`: what has led to a call that begins now; the workflow sees
    nothing of it, so it has no turn among the events. Answer: None.
    """

    rows: tuple[Row, ...]
    letters: tuple[int, ...] = ()
    drop: tuple[int, ...] = ()
    attempt: AttemptRecord | None = None
    aftermath: tuple[int, int] | None = None
    marks: tuple[Marks, ...] = ()
    enqueue: tuple[Any, ...] = ()  # each a queueing.QueuedRun
    beforehand: bool = False
    edited: bytes | None = None


class SaveAttempt(msgspec.Struct, frozen=True, gc=False):
    """Make the record of a failed attempt of run `rid` durable. Answer: None."""

    rid: int
    record: AttemptRecord


class Settle(msgspec.Struct, frozen=True):
    """Let every other branch of the workflow go on until it too waits for something new.

    Answer: the calls of all branches that wait in the same way; None if it cannot be known whether the others rest.
    """

    call: Call


class WaitGivenUp(msgspec.Struct, frozen=True):
    """The workflow gave up this call in an earlier life: wait until it does so again, or nothing else moves.

    Answer: None.
    """

    call: Call


class Resolve(msgspec.Struct, frozen=True):
    """Resolve the letter `lid` with the first of these rows, and take back the records `drop`.

    Answer: whether the letter's run will see it.
    """

    lid: int
    rows: tuple[Row, ...]
    drop: tuple[int, ...] = ()


Effect = (
    Load
    | Execute
    | ClearCrashes
    | MakeReady
    | Admit
    | Guarded
    | Report
    | Wait
    | Save
    | SaveAttempt
    | Settle
    | WaitGivenUp
)
