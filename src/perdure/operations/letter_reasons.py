"""Dead letters by reason: a thousand of them are often three errors."""

from __future__ import annotations

import re
import time
from datetime import datetime

import msgspec

from perdure.core.policies.verdicts import Verdict
from perdure.operations.dead_letters import LetterView, Selection, select, view_of
from perdure.store.runs import Store

BUDGET = 2.0
"""Seconds that are spent on the reasons; then it says that there are more letters."""

_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\S*[/\\]\S+|\b[0-9a-fA-F]{8,}\b|\b\S*\d{4,}\S*|\b[A-Z]+-\d+\b")
"""What differs between messages of one reason: quoted text, paths, digests, long numbers, and ids such as R-36."""


class Reason(msgspec.Struct, frozen=True):
    """What several letters have in common: the step, the class of the error, and the shape of its message.

    `letters` counts them, `first` and `last` is when they were parked, `example` is one of them by its number.
    """

    id: str
    workflow: str
    step: str | None
    error: str
    shape: str
    letters: int
    first: datetime | None
    last: datetime | None
    example: int
    verdict: Verdict | None


class Reasons(msgspec.Struct, frozen=True):
    """The reasons of parked letters, those of most letters first. `complete`: all of them were looked at."""

    reasons: list[Reason]
    letters: int
    complete: bool


def shape_of(line: str) -> tuple[str, str]:
    """The class of an error's line, and the shape of its message."""
    error, _, message = line.partition(": ")
    return error, _VARYING.sub("…", message)[:200]


def reason_of(letter: LetterView) -> str:
    """What the reason of a letter goes by: the same for all letters that share it."""
    import hashlib

    error, shape = shape_of(letter.error)
    text = "\0".join((letter.workflow, letter.step or "", error, shape))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def reasons(store: Store) -> Reasons:
    """The reasons of the letters that are parked.

    Raises:
        StateError: the file cannot be read.
    """
    ends = time.monotonic() + BUDGET
    found: dict[str, Reason] = {}
    count, complete = 0, True
    for letter in select(store, Selection(status="parked")):
        if time.monotonic() > ends:
            complete = False
            break
        count += 1
        view = view_of(store, letter)
        id = reason_of(view)
        known = found.get(id)
        if known is None:
            error, shape = shape_of(view.error)
            found[id] = Reason(
                id,
                view.workflow,
                view.step,
                error,
                shape,
                1,
                view.parked,
                view.parked,
                view.letter,
                view.verdict,
            )
        else:
            found[id] = msgspec.structs.replace(known, letters=known.letters + 1, last=view.parked)
    ordered = sorted(found.values(), key=lambda one: (-one.letters, one.example))
    return Reasons(ordered, count, complete)
