"""What the core asks an engine to do.

A decision is a generator: it yields one of these, the engine does it and sends back the answer. Each effect says what
it is answered with.
"""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.core.records import AttemptRecord
from perdure.core.spec import Call

Row = tuple[int, int, str, bytes, int, str, bytes, bytes, float, int, int, int]
"""A row of the step table, in the order of its columns."""


class Outcome(msgspec.Struct, gc=False):
    """How an attempt went: its value, or the exception. `started` in seconds since the epoch, `seconds` it took.

    Where the whole series of attempts was made elsewhere, under the same policy, `attempts` is how many there were:
    the outcome is final then, and `packed` is the value as bytes instead of `value`.
    """

    value: Any
    error: Exception | None
    started: float
    seconds: float
    attempts: int = 0
    packed: bytes | None = None


class Load(msgspec.Struct, frozen=True, gc=False):
    """Read a record of this run, to answer the call with or (`peek`) only to look at it. Answer: the StepRecord."""

    call: Call
    seq: int
    peek: bool = False


class Execute(msgspec.Struct, frozen=True, gc=False):
    """Run the call's function once, under its timeout; `parked`: failing for good makes a dead letter of it.

    Answer: an Outcome.
    """

    call: Call
    attempt: int
    parked: bool = False


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Let that many seconds pass before the next attempt. Answer: None."""

    call: Call
    seconds: float
    attempt: int
    error: Exception


class Save(msgspec.Struct, frozen=True, gc=False):
    """Make these rows durable; `letters` are the numbers of rows that are dead letters. Answer: None."""

    rows: tuple[Row, ...]
    letters: tuple[int, ...] = ()


class SaveAttempt(msgspec.Struct, frozen=True, gc=False):
    """Make the record of a failed attempt of run `rid` durable. Answer: None."""

    rid: int
    record: AttemptRecord


class Settle(msgspec.Struct, frozen=True, gc=False):
    """Let every other branch of the workflow go on until it too waits for something new.

    Answer: the calls of all branches that wait in the same way.
    """

    call: Call


class Branch(msgspec.Struct, frozen=True, gc=False):
    """Which branch of the workflow is asking. Answer: a `core.branch.Branch`, or None if there is but one."""


BRANCH = Branch()

Effect = Load | Execute | Wait | Save | SaveAttempt | Settle | Branch
