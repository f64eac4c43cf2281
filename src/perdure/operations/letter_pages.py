"""Dead letters a page at a time, and by the reason for which they failed."""

from __future__ import annotations

import re
import time
from datetime import datetime
from functools import partial
from itertools import islice

import msgspec

from perdure.core.letter_record import LetterRecord
from perdure.core.timestamps import moment
from perdure.operations.dead_letters import LetterView, Selection, damaged, headline_of, newest, view_of
from perdure.operations.paging import PAGE, SECONDS, Budget
from perdure.operations.ps import number_of
from perdure.store import dead_letters as letters
from perdure.store.damaged_rows import if_sound
from perdure.store.dead_letters import ReasonRow
from perdure.store.runs import Store

OLD = 1_000
"""Letters of versions that gave them no reason, of which it is worked out."""

LOOKED_AT = 20
"""Letters of a reason that are looked at until one can be read."""

_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\S*[/\\]\S+|\b[0-9a-fA-F]{8,}\b|\b\S*\d{4,}\S*|\b[A-Z]+-\d+\b")
"""What differs between messages of one reason: quoted text, paths, digests, long numbers, and ids such as R-36."""


class LetterPage(msgspec.Struct, frozen=True):
    """Some letters, newest first. `next` is the cursor of those that come after them; None: there are no more."""

    letters: list[LetterView]
    next: str | None


class LetterReason(msgspec.Struct, frozen=True):
    """Parked letters that failed for one reason.

    Attributes:
        reason: what it goes by, 16 hexadecimal digits; None for letters of earlier versions.
        error: the class of the error.
        shape: its message, without what differs between letters.
        letters: how many.
        first: when the first of them was parked.
        last: and the last.
        newest: that one.
    """

    reason: str | None
    error: str
    shape: str
    letters: int
    first: datetime | None
    last: datetime | None
    newest: LetterView


def letters_page(
    store: Store,
    wanted: Selection,
    *,
    cursor: str | None = None,
    limit: int = PAGE,
    seconds: float = SECONDS,
) -> LetterPage:
    """A page of the letters that are meant.

    Args:
        store: the state file.
        wanted: which.
        cursor: `next` of the page before; None for the first.
        limit: how many at most, 1 to 200.
        seconds: what it may take, at the most.

    Raises:
        NotFound: there is no such run.
        OptionError: a duration, a reason or the cursor is not valid.
        StateError: the file cannot be read.
    """
    budget = Budget(limit, seconds, time.monotonic)
    found: list[LetterView] = []
    for view in newest(store, wanted, number_of(cursor)):
        found.append(view)
        if len(found) == budget.limit or budget.is_spent:
            return LetterPage(found, str(view.letter))
    return LetterPage(found, None)


def letter_reasons(store: Store, limit: int = PAGE) -> list[LetterReason]:
    """Why letters are parked: what most of them failed with comes first.

    Args:
        store: the state file.
        limit: how many reasons at most.

    Raises:
        StateError: the file cannot be read.
    """
    found = [
        _reason(row.fingerprint.hex(), row.letters, moment(row.first), moment(row.last), _newest_of(store, row))
        for row in letters.reasons(store, limit)
    ]
    old: dict[tuple[str | None, str], list[LetterRecord]] = {}
    unread = []
    for lid in letters.without_reason(store, OLD):
        read = if_sound(partial(_headline, store, lid), lambda: None)
        if read is None:
            unread.append(lid)
            continue
        letter, (step, error) = read
        old.setdefault((step, re.sub("[0-9]+", "#", error)), []).append(letter)
    for some in old.values():
        first, last = moment(some[-1].created), moment(some[0].created)
        found.append(_reason(None, len(some), first, last, view_of(store, some[0])))
    if unread:
        found.append(_reason(None, len(unread), None, None, damaged(unread[0])))
    return list(islice(sorted(found, key=lambda one: -one.letters), limit))


def shape_of(line: str) -> tuple[str, str]:
    """The class of an error's line, and the shape of its message."""
    error, _, message = line.partition(": ")
    return error, _VARYING.sub("…", message)[:200]


def _reason(
    reason: str | None, count: int, first: datetime | None, last: datetime | None, newest: LetterView
) -> LetterReason:
    return LetterReason(reason, *shape_of(newest.error), count, first, last, newest)


def _newest_of(store: Store, row: ReasonRow) -> LetterView:
    """The newest letter of a reason that can be read."""
    view = if_sound(lambda: view_of(store, letters.get(store, row.newest)), lambda: None)
    if view is not None:
        return view
    others = islice(newest(store, Selection("parked", reason=row.fingerprint.hex())), LOOKED_AT)
    return next((one for one in others if one.status != "damaged"), damaged(row.newest))


def _headline(store: Store, lid: int) -> tuple[LetterRecord, tuple[str | None, str]]:
    letter = letters.get(store, lid)
    return letter, headline_of(store, letter)
